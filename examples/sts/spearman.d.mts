export interface Pair {
  first: string
  second: string
  score: number
}
export function readPairs(csv: string): Pair[]
export function correlation(pairs: readonly Pair[], vectors: { get(index: number): ArrayLike<number> }): number
