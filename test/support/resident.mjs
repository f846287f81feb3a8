/** Resident memory in MB, after what can be collected has been. Needs --expose-gc. */
export async function resident() {
  for (let turn = 0; turn < 3; turn++) {
    global.gc()
    await new Promise(resolve => setImmediate(resolve))
  }
  return process.memoryUsage.rss() / 1e6
}
