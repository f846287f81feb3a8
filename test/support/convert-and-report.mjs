// Converts SOURCE to TARGET, and prints the most memory that this process had, in bytes.
import { convert } from 'bert-layers'

const [source, target, dtype] = process.argv.slice(2)
await convert(source, target, { dtype })
console.log(process.resourceUsage().maxRSS * 1024)
