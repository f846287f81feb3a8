import { Encoder } from 'bert-layers'
import { check } from './check.cjs'

await check(Encoder)
console.log('ok')
