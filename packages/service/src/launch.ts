#!/usr/bin/env node
/**
 * The launcher: `node node_modules/@fairlead/service/dist/launch.js [node options] program.js [arguments]`, or
 * `fairlead-launch program.js`. It reads the cgroup, decides heap and threads, says why, and becomes the program.
 */
import { launch } from './lib/container/launch.ts'

export { launch }

if (import.meta.main) launch(process.argv.slice(2))
