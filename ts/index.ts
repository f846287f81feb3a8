export { Encoder } from './encoder.ts'
export { BertLayersError } from './errors.ts'
