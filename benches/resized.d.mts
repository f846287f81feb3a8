export interface Sizes {
  hidden: number
  heads: number
  intermediate: number
  vocabulary: number
  positions: number
  embedding: number
  buckets: number
  window: number
}

export const BASE: Sizes
export function resizedConfig(family: string, sizes: Sizes): Record<string, unknown>
export function resizedShapes(family: string, sizes: Sizes): { name: string; shape: number[] }[]
export function makeResized(family: string, sizes: Sizes, folder: string): void
