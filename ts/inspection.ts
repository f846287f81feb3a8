import type * as api from '../index.d.ts'
import type { NativeInspection } from './binding.ts'

/** What Rust saw, as users get it. */
export function inspection({ config, weights, memory, pooling, ...seen }: NativeInspection): api.Inspection {
  const { hasPooler = false, ...sizes } = config ?? {}
  return {
    ...seen,
    config: config && (sizes as api.EncoderConfig),
    hasPooler,
    ...(pooling !== undefined && { pooling: pooling as api.Pool }),
    weights: weights.map(({ format, dtypes, ...found }) => ({
      ...found,
      format: format as api.WeightFormat,
      dtypes: Object.fromEntries(dtypes.map(({ dtype, values }) => [dtype, values])),
    })),
    memory: Object.fromEntries(memory.map(({ dtype, bytes }) => [dtype, bytes])),
  }
}

export function withNotice<T extends { notices: string[] }>(seen: T, notice: string): T {
  return { ...seen, notices: [...seen.notices, notice] }
}
