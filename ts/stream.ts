import { setImmediate as nextTurn } from 'node:timers/promises'
import type { StreamProgress } from '../index.d.ts'
import { listen, unlisten } from './abort.ts'
import type { NativeInput } from './binding.ts'
import { ofInput, textOf } from './errors.ts'
import { Pool, TokenEstimate, type Waiting } from './stream-batch.ts'

/** While one batch is computed the next waits in Rust: no thread ever waits for JavaScript. */
const IN_FLIGHT = 2

/** What is read and not yet taken by the consumer: two batches in flight, one that is being filled, one that is being consumed. */
const BATCHES_AHEAD = 4

/** Reading gives the event loop a turn after so many milliseconds. */
const TIME_SLICE = 5

/** What a stream does with its batches. */
export interface Work<I, B extends { tokens: number }, R> {
  /** Checks an input; `what` it is called in errors. */
  read(input: unknown, what: string): NativeInput
  run(inputs: NativeInput[], signal: AbortSignal): Promise<B>
  /** The result of the batch's input number `at`. */
  pick(batch: B, at: number, index: number, input: I): R
}

export interface StreamSettings {
  batchTokens: number
  window: number
  progressCallback: ((progress: StreamProgress) => void) | undefined
  signal: AbortSignal | undefined
}

export type Source<I> = Iterable<I> | AsyncIterable<I>

/** The results of a source's inputs, in order. */
export async function* stream<I, B extends { tokens: number }, R>(
  source: Source<I>,
  settings: StreamSettings,
  work: Work<I, B, R>,
): AsyncGenerator<R, void, undefined> {
  settings.signal?.throwIfAborted()
  const pump = new Pump(source, settings, work)
  try {
    // What is there already is not waited for: a promise for each result would cost as much as the rest of its way.
    while (pump.knows() ?? (await pump.ready())) yield pump.take()
  } catch (error) {
    // The source's own end is not waited for: the error is what the consumer must hear of.
    pump.close().catch(() => {})
    throw error
  } finally {
    await pump.close()
  }
}

/** Reads ahead, sends batches, and keeps the results until their turn. */
class Pump<I, B extends { tokens: number }, R> {
  readonly #work: Work<I, B, R>
  readonly #settings: StreamSettings
  readonly #iterator: Iterator<I> | AsyncIterator<I>
  readonly #estimate = new TokenEstimate()
  readonly #started = performance.now()

  readonly #pool = new Pool<Waiting<I>>()
  /** Computed and not taken, by index; and the tokens that each was thought to have. */
  readonly #results = new Map<number, { result: R; tokens: number }>()
  /** The first input whose result cannot be had. What comes before it is given first. */
  #failure: { index: number; error: unknown } | undefined

  #read = 0
  #done = 0
  #taken = 0
  #tokensDone = 0
  /** Of what is read and not taken. */
  #tokensAhead = 0
  #inFlight = 0

  #reading = false
  /** The source has not answered for a turn of the event loop. */
  #slow = false
  /** The source gives nothing any more, or nobody asks it. */
  #ended = false
  #exhausted = false
  readonly #stop = new AbortController()
  #wake = () => {}

  constructor(source: Source<I>, settings: StreamSettings, work: Work<I, B, R>) {
    this.#work = work
    this.#settings = settings
    this.#iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]()
    if (settings.signal) listen(settings.signal, this.#abort)
  }

  /** Whether there is one more result to take, if that is known. */
  knows(): boolean | undefined {
    this.#settings.signal?.throwIfAborted()
    if (this.#taken === this.#failure?.index) throw this.#failure.error
    if (this.#results.has(this.#taken)) return true
    return this.#exhausted && this.#taken === this.#read ? false : undefined
  }

  /** The same, waited for. */
  async ready(): Promise<boolean> {
    for (;;) {
      const known = this.knows()
      if (known !== undefined) return known
      const change = new Promise<void>(resolve => {
        this.#wake = resolve
      })
      void this.#readAhead()
      await change
    }
  }

  /** The next result. */
  take(): R {
    const { result, tokens } = this.#results.get(this.#taken)!
    this.#results.delete(this.#taken)
    this.#taken++
    this.#tokensAhead -= tokens
    void this.#readAhead()
    return result
  }

  /** Ends everything under way, and the source if it has not ended by itself. */
  async close(): Promise<void> {
    if (this.#stop.signal.aborted) return
    this.#ended = true
    this.#stop.abort()
    this.#pool.dropFrom(0)
    this.#results.clear()
    if (this.#settings.signal) unlisten(this.#settings.signal, this.#abort)
    if (this.#exhausted) return
    const closing = this.#iterator.return?.()
    // A source that is asked for an input may not answer to anything else before it has given it.
    if (this.#reading) Promise.resolve(closing).catch(() => {})
    else await closing
  }

  readonly #abort = () => {
    this.close().catch(() => {})
    this.#wake()
  }

  get #room(): boolean {
    const { window, batchTokens } = this.#settings
    return this.#read - this.#taken < window && this.#tokensAhead < BATCHES_AHEAD * batchTokens
  }

  async #readAhead(): Promise<void> {
    if (this.#reading || this.#ended || !this.#room) return
    this.#reading = true
    let from = performance.now()
    let asking = false
    try {
      while (!this.#ended && this.#room) {
        asking = true
        const step = this.#iterator.next()
        const { done, value } = 'then' in step ? await this.#patiently(step) : step
        asking = false
        if (done) this.#exhausted = this.#ended = true
        if (this.#ended) break
        this.#add(value)
        this.#send()
        if (performance.now() - from < TIME_SLICE) continue
        this.#slow = true
        this.#send()
        this.#slow = false
        await nextTurn()
        from = performance.now()
      }
    } catch (error) {
      this.#exhausted ||= asking // a source that throws has ended
      if (!this.#ended) this.#fail(this.#read, error)
    }
    this.#reading = false
    this.#send()
    this.#wake()
  }

  /** Waits for the source; if it takes its time, what was read so far need not wait with it. */
  async #patiently<T>(step: Promise<T>): Promise<T> {
    const timer = setImmediate(() => {
      this.#slow = true
      this.#send()
    })
    try {
      return await step
    } finally {
      clearImmediate(timer)
      this.#slow = false
    }
  }

  #add(input: I): void {
    const index = this.#read
    const native = this.#check(input, index)
    const size = this.#estimate.sizeOf(native)
    const tokens = this.#estimate.tokensOf(native, size)
    this.#pool.add({ index, input, native, size, tokens })
    this.#read++
    this.#tokensAhead += tokens
  }

  #check(input: I, index: number): NativeInput {
    try {
      return this.#work.read(input, 'text 0')
    } catch (error) {
      throw ofInput(error, index)
    }
  }

  /** Sends what there is to send: full batches, and less when nothing more can come or the encoder would have nothing to do. */
  #send(): void {
    const { batchTokens } = this.#settings
    while (this.#inFlight < IN_FLIGHT && this.#pool.size > 0) {
      const full = this.#pool.tokens >= batchTokens || this.#ended
      const idle = this.#inFlight === 0 && (this.#slow || !this.#room)
      if (!full && !idle) return
      this.#inFlight++
      void this.#run(this.#pool.take(batchTokens))
    }
  }

  async #run(batch: Waiting<I>[]): Promise<void> {
    let left = batch
    while (left.length > 0 && !this.#stop.signal.aborted) {
      try {
        const inputs = left.map(({ native }) => native)
        this.#keep(left, await this.#work.run(inputs, this.#stop.signal))
        break
      } catch (error) {
        // One bad input does not cost the results of those before it.
        const at = textOf(error)
        const index = at === undefined ? Math.min(...left.map(item => item.index)) : left[at]!.index
        this.#fail(index, at === undefined ? error : ofInput(error, index))
        left = left.filter(item => item.index < index)
      }
    }
    this.#inFlight--
    this.#send()
    this.#wake()
  }

  #keep(items: Waiting<I>[], batch: B): void {
    this.#estimate.learn(items, batch.tokens)
    for (const [at, { index, input, tokens }] of items.entries()) {
      this.#results.set(index, { result: this.#work.pick(batch, at, index, input), tokens })
    }
    this.#done += items.length
    this.#tokensDone += batch.tokens
    this.#report()
  }

  #report(): void {
    const seconds = (performance.now() - this.#started) / 1000
    try {
      this.#settings.progressCallback?.({ read: this.#read, done: this.#done, tokens: this.#tokensDone, seconds })
    } catch (error) {
      this.#fail(this.#taken, error)
    }
  }

  /** Nothing is read or sent any more that comes after an input which failed. */
  #fail(index: number, error: unknown): void {
    if (this.#failure === undefined || index < this.#failure.index) this.#failure = { index, error }
    this.#ended = true
    this.#pool.dropFrom(this.#failure.index)
  }
}
