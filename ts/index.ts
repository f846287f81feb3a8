export { Encoder } from './encoder.ts'
export { BertLayersError } from './errors.ts'
export { convert, inspect } from './files.ts'
