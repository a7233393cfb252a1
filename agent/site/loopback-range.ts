// The loopback addresses of a site: one range, cut into one block per workload (docs/sites.md). In its own block a workload
// has its address at offset 0 and every service at the offset that the service has in all blocks. Pure arithmetic.
import { UserError } from "../../shared/errors.ts";

export interface LoopbackRange {
  /** First address as a number. */
  readonly first: number;
  readonly blocks: number;
}

export const BLOCK_SIZE = 4096;
/** Offset 0 is the workload's own. */
export const FIRST_SERVICE_OFFSET = 1;
/** The last address of a block is left alone, as a broadcast address is. */
export const LAST_SERVICE_OFFSET = BLOCK_SIZE - 2;
const LOOPBACK_BITS = 8;
const BLOCK_BITS = 20;

export function parseLoopbackRange(text: string): LoopbackRange {
  const match = /^127\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text);
  const [second = 256, third = 256, fourth = 256, bits = 0] = (match?.slice(1) ?? []).map(Number);
  const first = ((127 * 256 + second) * 256 + third) * 256 + fourth;
  const size = 2 ** (32 - bits);
  const fits = bits >= LOOPBACK_BITS && bits <= BLOCK_BITS && Math.max(second, third, fourth) < 256;
  if (!fits || first % size !== 0) {
    throw new UserError("ISTHMUS_LOOPBACK_RANGE", `--loopback-range ${text} is no range of loopback addresses`, {
      hint: `one block of 127.0.0.0/8 from /${LOOPBACK_BITS} to /${BLOCK_BITS}, e.g. 127.64.0.0/12, or none`,
    });
  }
  return { first, blocks: size / BLOCK_SIZE };
}

export function rangeText({ first, blocks }: LoopbackRange): string {
  return `${addressText(first)}/${32 - Math.log2(blocks * BLOCK_SIZE)}`;
}

export function addressText(number: number): string {
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join(".");
}

export function blockStart(range: LoopbackRange, block: number): number {
  return range.first + block * BLOCK_SIZE;
}
