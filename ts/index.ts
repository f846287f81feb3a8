export { Encoder } from './encoder.ts'
export { BertLayersError } from './errors.ts'
export { cosineSimilarity, dot, euclideanDistance } from './similarity.ts'
export { VectorIndex } from './vector-index.ts'
