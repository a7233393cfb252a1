// The few DER forms (X.690) that a workload certificate is made of. Called by workload-leaf.ts alone; everything else is
// built by @peculiar/x509. Writes only; nothing is ever parsed here.

export const tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
} as const;

/** Definite length, shortest form: the only one DER allows. */
export function tlv(type: number, ...contents: readonly Uint8Array[]): Buffer {
  const length = contents.reduce((sum, content) => sum + content.length, 0);
  return Buffer.concat([Buffer.from([type, ...lengthOctets(length)]), ...contents]);
}

export function sequence(...contents: readonly Uint8Array[]): Buffer {
  return tlv(tag.sequence, ...contents);
}

function lengthOctets(length: number): readonly number[] {
  if (length < 0x80) return [length];
  if (length < 0x100) return [0x81, length];
  if (length < 0x10000) return [0x82, length >> 8, length & 0xff];
  throw new RangeError(`${length} bytes are more than any certificate of ours has`);
}

/** RFC 5280 4.1.2.5: UTCTime to the end of 2049, GeneralizedTime from then on; whole seconds. */
export function time(timeMs: number): Buffer {
  const digits = new Date(timeMs).toISOString().replace(/[-:T]|\.\d+/g, "");
  const isUtc = digits < "2050";
  return tlv(isUtc ? tag.utcTime : tag.generalizedTime, Buffer.from(isUtc ? digits.slice(2) : digits, "latin1"));
}
