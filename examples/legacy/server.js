const { createApp } = require('./src/app')

const app = createApp()

if (require.main === module) {
  const port = Number(process.env.PORT ?? 3000)
  const server = app.listen(port, (error) => {
    if (error) throw error
    console.log(`guest book listening on port ${server.address().port}`)
  })
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.on(signal, () => {
      server.close()
      server.closeIdleConnections()
    })
  }
}

module.exports = app
