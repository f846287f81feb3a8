import type { FromPretrainedOptions } from '../../index.d.ts'
import { Encoder } from '../encoder.ts'
import { progressBar } from './progress.ts'

/** Loads a model; what is downloaded for it shows on the terminal. */
export async function load(model: string | undefined, options: FromPretrainedOptions): Promise<Encoder> {
  const bar = progressBar(process.stderr)
  return await Encoder.fromPretrained(model, { ...options, progressCallback: bar.update }).finally(bar.end)
}
