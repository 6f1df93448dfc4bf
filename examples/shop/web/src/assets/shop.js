// The shop works without scripts; this only saves a click.
for (const form of document.querySelectorAll('form[data-autosubmit]')) {
  form.querySelector('button').hidden = true
  form.addEventListener('change', () => form.requestSubmit())
}

// A second click while the first is on its way would only make the visitor wait twice.
for (const form of document.querySelectorAll('form[method="post"]')) {
  form.addEventListener('submit', () => {
    for (const button of form.querySelectorAll('button')) button.disabled = true
  })
}
window.addEventListener('pageshow', () => {
  for (const button of document.querySelectorAll('button:disabled')) button.disabled = false
})
