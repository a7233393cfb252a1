// Strict reading of the few DER forms (X.690) that the hot path meets: its own certificates and plain P-256 requests. Whatever
// is not the shortest definite form, or leaves bytes over, is no DER here. Called by leaf-pattern.ts and p256-request.ts, which
// turn `DerFault` into an answer; everything else is read by @peculiar/x509.
import { tag } from "./der.ts";

/** Thrown at the first octet that is not what it must be; never leaves the two readers. */
export class DerFault extends Error {}

/** A position in one value's contents. Every read moves it on. */
export class DerReader {
  private readonly bytes: Buffer;
  private readonly end: number;
  private at: number;

  constructor(bytes: Buffer, from = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = from;
    this.end = end;
  }

  get isAtEnd(): boolean {
    return this.at === this.end;
  }

  /** The next value's tag; undefined at the end. */
  get next(): number | undefined {
    return this.isAtEnd ? undefined : this.bytes[this.at];
  }

  /** Contents of the next value, which must have this tag. A view, not a copy. */
  value(type: number): Buffer {
    const [from, to] = this.header(type);
    this.at = to;
    return this.bytes.subarray(from, to);
  }

  /** The next value with its header. A view, not a copy. */
  whole(type: number): Buffer {
    const start = this.at;
    const [, to] = this.header(type);
    this.at = to;
    return this.bytes.subarray(start, to);
  }

  /** Steps into the next value. */
  inside(type: number): DerReader {
    const [from, to] = this.header(type);
    this.at = to;
    return new DerReader(this.bytes, from, to);
  }

  /** Moves past `expected` if exactly these bytes come next; a fault if not. */
  exactly(expected: Uint8Array): void {
    const to = this.at + expected.length;
    if (to > this.end || this.bytes.compare(expected, 0, expected.length, this.at, to) !== 0) {
      throw new DerFault("other bytes than expected");
    }
    this.at = to;
  }

  /** RFC 5280 4.1.2.5, ms since 1970. */
  time(): number {
    const isUtc = this.next === tag.utcTime;
    const text = this.value(isUtc ? tag.utcTime : tag.generalizedTime).toString("latin1");
    const digits = isUtc ? `${Number(text.slice(0, 2)) < 50 ? "20" : "19"}${text}` : text;
    const found = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(digits);
    if (found === null) throw new DerFault("no time");
    const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = found.slice(1).map(Number);
    return Date.UTC(year, month - 1, day, hour, minute, second);
  }

  ends(): void {
    if (!this.isAtEnd) throw new DerFault("bytes are left over");
  }

  private header(type: number): readonly [number, number] {
    if (this.at + 2 > this.end || this.bytes[this.at] !== type) throw new DerFault("another tag than expected");
    const [octets, length] = this.length(this.at + 1);
    const from = this.at + 1 + octets;
    if (from + length > this.end) throw new DerFault("longer than what holds it");
    return [from, from + length];
  }

  /** How many octets say the length, and the length. An octet past the end reads as 0: `header` sees that it is too short. */
  private length(at: number): readonly [number, number] {
    const [first = 0, second = 0, third = 0] = this.bytes.subarray(at, at + 3);
    if (first < 0x80) return [1, first];
    if (first === 0x81 && second >= 0x80) return [2, second];
    if (first === 0x82 && second > 0) return [3, second * 256 + third];
    throw new DerFault("no length of ours: indefinite, not the shortest form, or beyond 64 KiB");
  }
}
