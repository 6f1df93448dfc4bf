import { parseType, splitArguments } from './types.ts'
import type { Type } from './types.ts'

/** One way to call a function. */
export interface Overload {
  readonly id: string
  readonly isMember: boolean
  /** The receiver first, when it has one. */
  readonly params: readonly Type[]
  readonly result: Type
}

// `name: id receiver.(params) result; ...`; capital letters are type parameters.
const standard = `
_||_: logical_or (bool,bool) bool
_&&_: logical_and (bool,bool) bool
!_: logical_not (bool) bool
@not_strictly_false: not_strictly_false (bool) bool
_?_:_: conditional (bool,A,A) A
_==_: equals (A,A) bool
_!=_: not_equals (A,A) bool
_<_: less_bool (bool,bool) bool; less_int64 (int,int) bool; less_uint64 (uint,uint) bool; less_double (double,double) bool; less_string (string,string) bool; less_bytes (bytes,bytes) bool; less_timestamp (timestamp,timestamp) bool; less_duration (duration,duration) bool; less_int64_double (int,double) bool; less_int64_uint64 (int,uint) bool; less_uint64_double (uint,double) bool; less_uint64_int64 (uint,int) bool; less_double_int64 (double,int) bool; less_double_uint64 (double,uint) bool
_+_: add_int64 (int,int) int; add_uint64 (uint,uint) uint; add_double (double,double) double; add_string (string,string) string; add_bytes (bytes,bytes) bytes; add_list (list<A>,list<A>) list<A>; add_timestamp_duration (timestamp,duration) timestamp; add_duration_timestamp (duration,timestamp) timestamp; add_duration_duration (duration,duration) duration
_-_: subtract_int64 (int,int) int; subtract_uint64 (uint,uint) uint; subtract_double (double,double) double; subtract_timestamp_timestamp (timestamp,timestamp) duration; subtract_timestamp_duration (timestamp,duration) timestamp; subtract_duration_duration (duration,duration) duration
_*_: multiply_int64 (int,int) int; multiply_uint64 (uint,uint) uint; multiply_double (double,double) double
_/_: divide_int64 (int,int) int; divide_uint64 (uint,uint) uint; divide_double (double,double) double
_%_: modulo_int64 (int,int) int; modulo_uint64 (uint,uint) uint
-_: negate_int64 (int) int; negate_double (double) double
_[_]: index_list (list<A>,int) A; index_map (map<A,B>,A) B; optional_list_index_value (optional<list<A>>,int) optional<A>; optional_map_index_value (optional<map<A,B>>,A) optional<B>
_[?_]: list_optindex_optional_int (list<A>,int) optional<A>; map_optindex_optional_value (map<A,B>,A) optional<B>; optional_list_optindex_optional_int (optional<list<A>>,int) optional<A>; optional_map_optindex_optional_value (optional<map<A,B>>,A) optional<B>
@in: in_list (A,list<A>) bool; in_map (A,map<A,B>) bool
size: size_string (string) int; size_bytes (bytes) int; size_list (list<A>) int; size_map (map<A,B>) int; string_size string.() int; bytes_size bytes.() int; list_size list<A>.() int; map_size map<A,B>.() int
contains: contains_string string.(string) bool
startsWith: starts_with_string string.(string) bool
endsWith: ends_with_string string.(string) bool
matches: matches (string,string) bool; matches_string string.(string) bool
int: int64_to_int64 (int) int; uint64_to_int64 (uint) int; double_to_int64 (double) int; string_to_int64 (string) int; timestamp_to_int64 (timestamp) int; duration_to_int64 (duration) int
uint: uint64_to_uint64 (uint) uint; int64_to_uint64 (int) uint; double_to_uint64 (double) uint; string_to_uint64 (string) uint
double: double_to_double (double) double; int64_to_double (int) double; uint64_to_double (uint) double; string_to_double (string) double
string: string_to_string (string) string; int64_to_string (int) string; uint64_to_string (uint) string; double_to_string (double) string; bool_to_string (bool) string; bytes_to_string (bytes) string; timestamp_to_string (timestamp) string; duration_to_string (duration) string; ip_to_string (net.IP) string; cidr_to_string (net.CIDR) string
bytes: bytes_to_bytes (bytes) bytes; string_to_bytes (string) bytes
bool: bool_to_bool (bool) bool; string_to_bool (string) bool
dyn: to_dyn (A) dyn
type: type (A) type
timestamp: timestamp_to_timestamp (timestamp) timestamp; string_to_timestamp (string) timestamp; int64_to_timestamp (int) timestamp
duration: duration_to_duration (duration) duration; string_to_duration (string) duration
getFullYear: timestamp_to_year timestamp.() int; timestamp_to_year_with_tz timestamp.(string) int
getMonth: timestamp_to_month timestamp.() int; timestamp_to_month_with_tz timestamp.(string) int
getDayOfYear: timestamp_to_day_of_year timestamp.() int; timestamp_to_day_of_year_with_tz timestamp.(string) int
getDayOfMonth: timestamp_to_day_of_month timestamp.() int; timestamp_to_day_of_month_with_tz timestamp.(string) int
getDate: timestamp_to_day_of_month_1_based timestamp.() int; timestamp_to_day_of_month_1_based_with_tz timestamp.(string) int
getDayOfWeek: timestamp_to_day_of_week timestamp.() int; timestamp_to_day_of_week_with_tz timestamp.(string) int
getHours: timestamp_to_hours timestamp.() int; timestamp_to_hours_with_tz timestamp.(string) int; duration_to_hours duration.() int
getMinutes: timestamp_to_minutes timestamp.() int; timestamp_to_minutes_with_tz timestamp.(string) int; duration_to_minutes duration.() int
getSeconds: timestamp_to_seconds timestamp.() int; timestamp_to_seconds_tz timestamp.(string) int; duration_to_seconds duration.() int
getMilliseconds: timestamp_to_milliseconds timestamp.() int; timestamp_to_milliseconds_with_tz timestamp.(string) int; duration_to_milliseconds duration.() int
optional.of: optional_of (A) optional<A>
optional.ofNonZeroValue: optional_ofNonZeroValue (A) optional<A>
optional.none: optional_none () optional<A>
hasValue: optional_hasValue optional<A>.() bool
value: optional_value optional<A>.() A
or: optional_or_optional optional<A>.(optional<A>) optional<A>
orValue: optional_orValue_value optional<A>.(A) A
cel.@mapInsert: @mapInsert_map_key_value (map<A,B>,A,B) map<A,B>; @mapInsert_map_map (map<A,B>,map<A,B>) map<A,B>
`

const strings = `
charAt: string_char_at_int string.(int) string
indexOf: string_index_of_string string.(string) int; string_index_of_string_int string.(string,int) int; list_a_index_of_int list<A>.(A) int
lastIndexOf: string_last_index_of_string string.(string) int; string_last_index_of_string_int string.(string,int) int; list_a_last_index_of_int list<A>.(A) int
lowerAscii: string_lower_ascii string.() string
upperAscii: string_upper_ascii string.() string
replace: string_replace_string_string string.(string,string) string; string_replace_string_string_int string.(string,string,int) string
split: string_split_string string.(string) list<string>; string_split_string_int string.(string,int) list<string>
substring: string_substring_int string.(int) string; string_substring_int_int string.(int,int) string
trim: string_trim string.() string
join: list_join list<string>.() string; list_join_string list<string>.(string) string
format: string_format string.(list<dyn>) string
strings.quote: strings_quote (string) string
find: string_find_string string.(string) string
findAll: string_find_all_string string.(string) list<string>; string_find_all_string_int string.(string,int) list<string>
slice: list_slice list<A>.(int,int) list<A>
flatten: list_flatten list<list<A>>.() list<A>; list_flatten_int list<dyn>.(int) list<dyn>
lists.range: lists_range (int) list<int>
reverse: list_reverse list<A>.() list<A>
distinct: list_distinct list<A>.() list<A>
sort: list_sort list<A>.() list<A>
@sortByAssociatedKeys: list_sortByAssociatedKeys list<A>.(list<B>) list<A>
first: list_first list<A>.() optional<A>
last: list_last list<A>.() optional<A>
sets.contains: list_sets_contains_list (list<A>,list<A>) bool
sets.equivalent: list_sets_equivalent_list (list<A>,list<A>) bool
sets.intersects: list_sets_intersects_list (list<A>,list<A>) bool
`

const kubernetes = `
url: string_to_url (string) kubernetes.URL
isURL: is_url_string (string) bool
getScheme: url_get_scheme kubernetes.URL.() string
getHost: url_get_host kubernetes.URL.() string
getHostname: url_get_hostname kubernetes.URL.() string
getPort: url_get_port kubernetes.URL.() string
getEscapedPath: url_get_escaped_path kubernetes.URL.() string
getQuery: url_get_query kubernetes.URL.() map<string,list<string>>
quantity: string_to_quantity (string) kubernetes.Quantity
isQuantity: is_quantity_string (string) bool
sign: quantity_sign (kubernetes.Quantity) int
isInteger: quantity_is_integer kubernetes.Quantity.() bool
asInteger: quantity_as_integer kubernetes.Quantity.() int
asApproximateFloat: quantity_get_float kubernetes.Quantity.() double
add: quantity_add kubernetes.Quantity.(kubernetes.Quantity) kubernetes.Quantity; quantity_add_int kubernetes.Quantity.(int) kubernetes.Quantity
sub: quantity_sub kubernetes.Quantity.(kubernetes.Quantity) kubernetes.Quantity; quantity_sub_int kubernetes.Quantity.(int) kubernetes.Quantity
isGreaterThan: quantity_is_greater_than kubernetes.Quantity.(kubernetes.Quantity) bool; semver_is_greater_than kubernetes.Semver.(kubernetes.Semver) bool
isLessThan: quantity_is_less_than kubernetes.Quantity.(kubernetes.Quantity) bool; semver_is_less_than kubernetes.Semver.(kubernetes.Semver) bool
compareTo: quantity_compare_to kubernetes.Quantity.(kubernetes.Quantity) int; semver_compare_to kubernetes.Semver.(kubernetes.Semver) int
semver: string_to_semver (string) kubernetes.Semver; string_bool_to_semver (string,bool) kubernetes.Semver
isSemver: is_semver_string (string) bool; is_semver_string_bool (string,bool) bool
major: semver_major kubernetes.Semver.() int
minor: semver_minor kubernetes.Semver.() int
patch: semver_patch kubernetes.Semver.() int
ip: string_to_ip (string) net.IP; cidr_ip net.CIDR.() net.IP
isIP: is_ip (string) bool
ip.isCanonical: ip_is_canonical (string) bool
family: ip_family net.IP.() int
isUnspecified: ip_is_unspecified net.IP.() bool
isLoopback: ip_is_loopback net.IP.() bool
isLinkLocalMulticast: ip_is_link_local_multicast net.IP.() bool
isLinkLocalUnicast: ip_is_link_local_unicast net.IP.() bool
isGlobalUnicast: ip_is_global_unicast net.IP.() bool
cidr: string_to_cidr (string) net.CIDR
isCIDR: is_cidr (string) bool
containsIP: cidr_contains_ip_string net.CIDR.(string) bool; cidr_contains_ip_ip net.CIDR.(net.IP) bool
containsCIDR: cidr_contains_cidr_string net.CIDR.(string) bool; cidr_contains_cidr net.CIDR.(net.CIDR) bool
prefixLength: cidr_prefix_length net.CIDR.() int
masked: cidr_masked net.CIDR.() net.CIDR
format.named: format_named (string) optional<kubernetes.NamedFormat>
validate: format_validate kubernetes.NamedFormat.(string) optional<list<string>>
path: authorizer_path kubernetes.authorization.Authorizer.(string) kubernetes.authorization.PathCheck
group: authorizer_group kubernetes.authorization.Authorizer.(string) kubernetes.authorization.GroupCheck
serviceAccount: authorizer_service_account kubernetes.authorization.Authorizer.(string,string) kubernetes.authorization.Authorizer
resource: groupcheck_resource kubernetes.authorization.GroupCheck.(string) kubernetes.authorization.ResourceCheck
subresource: resourcecheck_subresource kubernetes.authorization.ResourceCheck.(string) kubernetes.authorization.ResourceCheck
namespace: resourcecheck_namespace kubernetes.authorization.ResourceCheck.(string) kubernetes.authorization.ResourceCheck
name: resourcecheck_name kubernetes.authorization.ResourceCheck.(string) kubernetes.authorization.ResourceCheck
fieldSelector: authorizer_fieldselector kubernetes.authorization.ResourceCheck.(string) kubernetes.authorization.ResourceCheck
labelSelector: authorizer_labelselector kubernetes.authorization.ResourceCheck.(string) kubernetes.authorization.ResourceCheck
check: pathcheck_check kubernetes.authorization.PathCheck.(string) kubernetes.authorization.Decision; resourcecheck_check kubernetes.authorization.ResourceCheck.(string) kubernetes.authorization.Decision
errored: decision_errored kubernetes.authorization.Decision.() bool
error: decision_error kubernetes.authorization.Decision.() string
allowed: decision_allowed kubernetes.authorization.Decision.() bool
reason: decision_reason kubernetes.authorization.Decision.() string
jsonpatch.escapeKey: jsonpatch_escapekey_string (string) string
`

function readLine(line: string): [string, readonly Overload[]] {
  const match = /^(_\?_:_|[^:]+): (.*)$/.exec(line)
  return [match?.[1] ?? '', (match?.[2] ?? '').split('; ').map(readOverload)]
}

function readOverload(text: string): Overload {
  const [, id = '', receiver = '', params = '', result = ''] = /^(\S+) (?:(\S*)\.)?\((.*)\) (\S+)$/.exec(text) ?? []
  const all = [...(receiver === '' ? [] : [receiver]), ...splitArguments(params)]
  return { id, isMember: receiver !== '', params: all.map(parseType), result: parseType(result) }
}

const declared = new Map(
  `${standard}${strings}${kubernetes}`
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => readLine(line)),
)
const summable = ['int', 'uint', 'double', 'duration']
for (const [name, result, of] of [
  ['isSorted', 'bool', [...summable, 'bool', 'timestamp', 'string', 'bytes']],
  ['max', undefined, [...summable, 'bool', 'timestamp', 'string', 'bytes']],
  ['min', undefined, [...summable, 'bool', 'timestamp', 'string', 'bytes']],
  ['sum', undefined, summable],
] as const) {
  declared.set(
    name,
    of.map((type) => readOverload(`list_${type}_${name}_${result ?? type} list<${type}>.() ${result ?? type}`)),
  )
}
for (const name of 'dns1123Label dns1123Subdomain dns1035Label dns1123LabelPrefix dns1123SubdomainPrefix dns1035LabelPrefix qualifiedName labelValue uri uuid byte date datetime'.split(
  ' ',
)) {
  const result = parseType('kubernetes.NamedFormat')
  declared.set(`format.${name}`, [{ id: `format_${name}`, isMember: false, params: [], result }])
}
for (const [name, word] of [
  ['_<=_', 'less_equals'],
  ['_>_', 'greater'],
  ['_>=_', 'greater_equals'],
] as const) {
  const less = declared.get('_<_') ?? []
  declared.set(
    name,
    less.map((each) => ({ ...each, id: each.id.replace('less', word) })),
  )
}

/** The functions expressions may call, with the extensions Kubernetes 1.36 has. */
export const functions: ReadonlyMap<string, readonly Overload[]> = declared

/** Names that stand for a type when nothing else has them. */
export const typeNames: ReadonlySet<string> = new Set(
  'bool int uint double string bytes list map null_type type google.protobuf.Timestamp google.protobuf.Duration optional_type net.IP net.CIDR'.split(
    ' ',
  ),
)
