// Answers what the strategies of Kubernetes say of objects: one JSON object per line in, one per line out. Built with the
// source of Kubernetes; regenerate.ts beside this tells how.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	_ "k8s.io/kubernetes/pkg/apis/certificates/install"
	_ "k8s.io/kubernetes/pkg/apis/coordination/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/discovery/install"
	_ "k8s.io/kubernetes/pkg/apis/events/install"
	_ "k8s.io/kubernetes/pkg/apis/flowcontrol/install"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	_ "k8s.io/kubernetes/pkg/apis/node/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"
	_ "k8s.io/kubernetes/pkg/apis/resource/install"
	_ "k8s.io/kubernetes/pkg/apis/scheduling/install"
	_ "k8s.io/kubernetes/pkg/apis/storage/install"
	"k8s.io/kubernetes/pkg/capabilities"
	"k8s.io/kubernetes/pkg/registry/apps/controllerrevision"
	"k8s.io/kubernetes/pkg/registry/apps/daemonset"
	"k8s.io/kubernetes/pkg/registry/apps/deployment"
	"k8s.io/kubernetes/pkg/registry/apps/replicaset"
	"k8s.io/kubernetes/pkg/registry/apps/statefulset"
	"k8s.io/kubernetes/pkg/registry/autoscaling/horizontalpodautoscaler"
	"k8s.io/kubernetes/pkg/registry/batch/cronjob"
	"k8s.io/kubernetes/pkg/registry/batch/job"
	"k8s.io/kubernetes/pkg/registry/certificates/certificates"
	"k8s.io/kubernetes/pkg/registry/coordination/lease"
	"k8s.io/kubernetes/pkg/registry/core/configmap"
	"k8s.io/kubernetes/pkg/registry/core/endpoint"
	"k8s.io/kubernetes/pkg/registry/core/event"
	"k8s.io/kubernetes/pkg/registry/core/limitrange"
	"k8s.io/kubernetes/pkg/registry/core/namespace"
	"k8s.io/kubernetes/pkg/registry/core/node"
	"k8s.io/kubernetes/pkg/registry/core/persistentvolume"
	"k8s.io/kubernetes/pkg/registry/core/persistentvolumeclaim"
	"k8s.io/kubernetes/pkg/registry/core/pod"
	"k8s.io/kubernetes/pkg/registry/core/podtemplate"
	"k8s.io/kubernetes/pkg/registry/core/replicationcontroller"
	"k8s.io/kubernetes/pkg/registry/core/resourcequota"
	"k8s.io/kubernetes/pkg/registry/core/secret"
	"k8s.io/kubernetes/pkg/registry/core/service"
	"k8s.io/kubernetes/pkg/registry/core/serviceaccount"
	"k8s.io/kubernetes/pkg/registry/discovery/endpointslice"
	"k8s.io/kubernetes/pkg/registry/flowcontrol/flowschema"
	"k8s.io/kubernetes/pkg/registry/flowcontrol/prioritylevelconfiguration"
	"k8s.io/kubernetes/pkg/registry/networking/ingress"
	"k8s.io/kubernetes/pkg/registry/networking/ingressclass"
	"k8s.io/kubernetes/pkg/registry/networking/ipaddress"
	"k8s.io/kubernetes/pkg/registry/networking/networkpolicy"
	"k8s.io/kubernetes/pkg/registry/networking/servicecidr"
	"k8s.io/kubernetes/pkg/registry/node/runtimeclass"
	"k8s.io/kubernetes/pkg/registry/policy/poddisruptionbudget"
	"k8s.io/kubernetes/pkg/registry/rbac/clusterrole"
	"k8s.io/kubernetes/pkg/registry/rbac/clusterrolebinding"
	"k8s.io/kubernetes/pkg/registry/rbac/role"
	"k8s.io/kubernetes/pkg/registry/rbac/rolebinding"
	"k8s.io/kubernetes/pkg/registry/resource/deviceclass"
	"k8s.io/kubernetes/pkg/registry/resource/resourceclaim"
	"k8s.io/kubernetes/pkg/registry/resource/resourceclaimtemplate"
	"k8s.io/kubernetes/pkg/registry/resource/resourceslice"
	"k8s.io/kubernetes/pkg/registry/scheduling/priorityclass"
	"k8s.io/kubernetes/pkg/registry/storage/csidriver"
	"k8s.io/kubernetes/pkg/registry/storage/csinode"
	"k8s.io/kubernetes/pkg/registry/storage/csistoragecapacity"
	"k8s.io/kubernetes/pkg/registry/storage/storageclass"
	"k8s.io/kubernetes/pkg/registry/storage/volumeattachment"
	"k8s.io/kubernetes/pkg/registry/storage/volumeattributesclass"
)

type strategy interface {
	rest.RESTCreateStrategy
	rest.RESTUpdateStrategy
}

type one struct {
	s        strategy
	resource string
}

func strategies() map[string]one {
	ns := fake.NewSimpleClientset().CoreV1().Namespaces()
	return map[string]one{
		"ControllerRevision":         {controllerrevision.Strategy, "controllerrevisions"},
		"DaemonSet":                  {daemonset.Strategy, "daemonsets"},
		"Deployment":                 {deployment.Strategy, "deployments"},
		"ReplicaSet":                 {replicaset.Strategy, "replicasets"},
		"StatefulSet":                {statefulset.Strategy, "statefulsets"},
		"HorizontalPodAutoscaler":    {horizontalpodautoscaler.Strategy, "horizontalpodautoscalers"},
		"CronJob":                    {cronjob.Strategy, "cronjobs"},
		"Job":                        {job.Strategy, "jobs"},
		"CertificateSigningRequest":  {certificates.Strategy, "certificatesigningrequests"},
		"Lease":                      {lease.Strategy, "leases"},
		"ConfigMap":                  {configmap.Strategy, "configmaps"},
		"Endpoints":                  {endpoint.Strategy, "endpoints"},
		"Event":                      {event.Strategy, "events"},
		"LimitRange":                 {limitrange.Strategy, "limitranges"},
		"Namespace":                  {namespace.Strategy, "namespaces"},
		"Node":                       {node.Strategy, "nodes"},
		"PersistentVolume":           {persistentvolume.Strategy, "persistentvolumes"},
		"PersistentVolumeClaim":      {persistentvolumeclaim.Strategy, "persistentvolumeclaims"},
		"Pod":                        {pod.Strategy, "pods"},
		"PodTemplate":                {podtemplate.Strategy, "podtemplates"},
		"ReplicationController":      {replicationcontroller.Strategy, "replicationcontrollers"},
		"ResourceQuota":              {resourcequota.Strategy, "resourcequotas"},
		"Secret":                     {secret.Strategy, "secrets"},
		"Service":                    {service.Strategy, "services"},
		"ServiceAccount":             {serviceaccount.Strategy, "serviceaccounts"},
		"EndpointSlice":              {endpointslice.Strategy, "endpointslices"},
		"FlowSchema":                 {flowschema.Strategy, "flowschemas"},
		"PriorityLevelConfiguration": {prioritylevelconfiguration.Strategy, "prioritylevelconfigurations"},
		"Ingress":                    {ingress.Strategy, "ingresses"},
		"IngressClass":               {ingressclass.Strategy, "ingressclasses"},
		"IPAddress":                  {ipaddress.Strategy, "ipaddresses"},
		"NetworkPolicy":              {networkpolicy.Strategy, "networkpolicies"},
		"ServiceCIDR":                {servicecidr.Strategy, "servicecidrs"},
		"RuntimeClass":               {runtimeclass.Strategy, "runtimeclasses"},
		"PodDisruptionBudget":        {poddisruptionbudget.Strategy, "poddisruptionbudgets"},
		"ClusterRole":                {clusterrole.Strategy, "clusterroles"},
		"ClusterRoleBinding":         {clusterrolebinding.Strategy, "clusterrolebindings"},
		"Role":                       {role.Strategy, "roles"},
		"RoleBinding":                {rolebinding.Strategy, "rolebindings"},
		"DeviceClass":                {deviceclass.Strategy, "deviceclasses"},
		"ResourceClaim":              {resourceclaim.NewStrategy(ns, nil), "resourceclaims"},
		"ResourceClaimTemplate":      {resourceclaimtemplate.NewStrategy(ns), "resourceclaimtemplates"},
		"ResourceSlice":              {resourceslice.Strategy, "resourceslices"},
		"PriorityClass":              {priorityclass.Strategy, "priorityclasses"},
		"CSIDriver":                  {csidriver.Strategy, "csidrivers"},
		"CSINode":                    {csinode.Strategy, "csinodes"},
		"CSIStorageCapacity":         {csistoragecapacity.Strategy, "csistoragecapacities"},
		"StorageClass":               {storageclass.Strategy, "storageclasses"},
		"VolumeAttachment":           {volumeattachment.Strategy, "volumeattachments"},
		"VolumeAttributesClass":      {volumeattributesclass.Strategy, "volumeattributesclasses"},
	}
}

// parts are the strategies of subresources that write a part of an object.
func parts() map[string]one {
	ns := fake.NewSimpleClientset().CoreV1().Namespaces()
	claims := resourceclaim.NewStatusStrategy(resourceclaim.NewStrategy(ns, authorizerfactory.NewAlwaysAllowAuthorizer()))
	return map[string]one{
		"CertificateSigningRequest/approval": {certificates.ApprovalStrategy, "certificatesigningrequests"},
		"CertificateSigningRequest/status":   {certificates.StatusStrategy, "certificatesigningrequests"},
		"CronJob/status":                     {cronjob.StatusStrategy, "cronjobs"},
		"DaemonSet/status":                   {daemonset.StatusStrategy, "daemonsets"},
		"Deployment/status":                  {deployment.StatusStrategy, "deployments"},
		"HorizontalPodAutoscaler/status":     {horizontalpodautoscaler.StatusStrategy, "horizontalpodautoscalers"},
		"Ingress/status":                     {ingress.StatusStrategy, "ingresses"},
		"Job/status":                         {job.StatusStrategy, "jobs"},
		"Namespace/status":                   {namespace.StatusStrategy, "namespaces"},
		"Node/status":                        {node.StatusStrategy, "nodes"},
		"PersistentVolume/status":            {persistentvolume.StatusStrategy, "persistentvolumes"},
		"PersistentVolumeClaim/status":       {persistentvolumeclaim.StatusStrategy, "persistentvolumeclaims"},
		"Pod/status":                         {pod.StatusStrategy, "pods"},
		"PodDisruptionBudget/status":         {poddisruptionbudget.StatusStrategy, "poddisruptionbudgets"},
		"ReplicaSet/status":                  {replicaset.StatusStrategy, "replicasets"},
		"ReplicationController/status":       {replicationcontroller.StatusStrategy, "replicationcontrollers"},
		"ResourceClaim/status":               {claims, "resourceclaims"},
		"ResourceQuota/status":               {resourcequota.StatusStrategy, "resourcequotas"},
		"Service/status":                     {service.StatusStrategy, "services"},
		"ServiceCIDR/status":                 {servicecidr.StatusStrategy, "servicecidrs"},
		"StatefulSet/status":                 {statefulset.StatusStrategy, "statefulsets"},
		"VolumeAttachment/status":            {volumeattachment.StatusStrategy, "volumeattachments"},
	}
}

type input struct {
	Name   string          `json:"name"`
	Part   string          `json:"part,omitempty"`
	Old    json.RawMessage `json:"old,omitempty"`
	Object json.RawMessage `json:"object"`
}

type cause struct {
	Field   string `json:"field"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

type output struct {
	Name   string          `json:"name"`
	Error  string          `json:"error,omitempty"`
	Causes []cause         `json:"causes"`
	Object json.RawMessage `json:"object,omitempty"`
}

func decode(data []byte) (runtime.Object, *schema.GroupVersionKind, error) {
	return legacyscheme.Codecs.UniversalDecoder().Decode(data, nil, nil)
}

func contextOf(o one, gvk *schema.GroupVersionKind, name, subresource string) context.Context {
	ctx := genericapirequest.WithNamespace(genericapirequest.NewContext(), "")
	if o.s.NamespaceScoped() {
		ctx = genericapirequest.WithNamespace(ctx, "default")
	}
	return genericapirequest.WithRequestInfo(ctx, &genericapirequest.RequestInfo{IsResourceRequest: true, APIGroup: gvk.Group, APIVersion: gvk.Version, Resource: o.resource, Subresource: subresource, Name: name})
}

func run(all map[string]one, in input) (out output) {
	out.Name = in.Name
	out.Causes = []cause{}
	defer func() {
		if r := recover(); r != nil {
			out.Error = fmt.Sprint("panic: ", r)
		}
	}()
	obj, gvk, err := decode(in.Object)
	if err != nil {
		out.Error = "decode: " + err.Error()
		return
	}
	key := gvk.Kind
	subresource := ""
	if in.Part != "" {
		key += "/" + in.Part
		subresource = in.Part
	}
	o, ok := all[key]
	if !ok {
		out.Error = "no strategy for " + key
		return
	}
	acc, _ := meta.Accessor(obj)
	ctx := contextOf(o, gvk, acc.GetName(), subresource)
	if o.s.NamespaceScoped() {
		acc.SetNamespace("default")
	}
	if len(in.Old) > 0 {
		old, _, err2 := decode(in.Old)
		if err2 != nil {
			out.Error = "decode old: " + err2.Error()
			return
		}
		accOld, _ := meta.Accessor(old)
		if o.s.NamespaceScoped() {
			accOld.SetNamespace("default")
		}
		rest.FillObjectMetaSystemFields(accOld)
		accOld.SetUID("1")
		accOld.SetCreationTimestamp(metav1.Unix(1700000000, 0))
		accOld.SetGeneration(1)
		accOld.SetResourceVersion("7")
		acc.SetResourceVersion("7")
		acc.SetUID("1")
		err = rest.BeforeUpdate(o.s, ctx, obj, old)
	} else {
		rest.FillObjectMetaSystemFields(acc)
		err = rest.BeforeCreate(o.s, ctx, obj)
	}
	if err != nil {
		if se, ok := err.(*apierrors.StatusError); ok && se.ErrStatus.Details != nil {
			for _, c := range se.ErrStatus.Details.Causes {
				out.Causes = append(out.Causes, cause{c.Field, string(c.Type), c.Message})
			}
		} else {
			out.Error = err.Error()
		}
		return
	}
	acc.SetCreationTimestamp(metav1.Time{})
	acc.SetUID("")
	acc.SetResourceVersion("")
	data, err := runtime.Encode(legacyscheme.Codecs.LegacyCodec(gvk.GroupVersion()), obj)
	if err != nil {
		out.Error = "encode: " + err.Error()
		return
	}
	out.Object = json.RawMessage(strings.TrimSpace(string(data)))
	return
}

func main() {
	// As an API server with --allow-privileged, which every cluster has.
	capabilities.Setup(true, 0)
	all := strategies()
	maps.Copy(all, parts())
	scanner := bufio.NewScanner(os.Stdin)
	scanner.Buffer(make([]byte, 1<<20), 1<<26)
	enc := json.NewEncoder(os.Stdout)
	enc.SetEscapeHTML(false)
	for scanner.Scan() {
		var in input
		if err := json.Unmarshal(scanner.Bytes(), &in); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		enc.Encode(run(all, in))
	}
}
