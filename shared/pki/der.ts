// The few DER forms (X.690) that a leaf certificate is made of. Called by leaf-pattern.ts; everything else is built by
// @peculiar/x509. Writes only: der-reader.ts reads, and shares no code with what is here.

export const tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** ecdsa-with-SHA256, RFC 5758: no parameters. */
export const ecdsaSha256 = Buffer.from("300a06082a8648ce3d040302", "hex");
/** SubjectPublicKeyInfo of an uncompressed P-256 point (RFC 5480 2.2) up to and with the octet 04 that says so. */
export const p256Prefix = Buffer.from("3059301306072a8648ce3d020106082a8648ce3d03010703420004", "hex");
export const p256SpkiBytes = p256Prefix.length + 64;

/** Definite length, shortest form: the only one DER allows. */
export function tlv(type: number, ...contents: readonly Uint8Array[]): Buffer {
  let length = 0;
  for (const content of contents) length += content.length;
  const lengthOctets = length < 0x80 ? 1 : length < 0x100 ? 2 : 3;
  if (length > 0xffff) throw new RangeError(`${length} bytes are more than any certificate of ours has`);
  const bytes = Buffer.allocUnsafe(1 + lengthOctets + length);
  bytes[0] = type;
  if (lengthOctets > 1) bytes[1] = 0x80 | (lengthOctets - 1);
  if (lengthOctets === 3) bytes[2] = length >> 8;
  bytes[lengthOctets] = length & 0xff;
  let at = 1 + lengthOctets;
  for (const content of contents) {
    bytes.set(content, at);
    at += content.length;
  }
  return bytes;
}

export function sequence(...contents: readonly Uint8Array[]): Buffer {
  return tlv(tag.sequence, ...contents);
}

/** RFC 5280 4.1.2.5: UTCTime to the end of 2049, GeneralizedTime from then on; whole seconds. */
export function time(timeMs: number): Buffer {
  const date = new Date(timeMs);
  const year = date.getUTCFullYear();
  const isUtc = year < 2050;
  const bytes = Buffer.from(isUtc ? "..yymmddhhmmssZ" : "..yyyymmddhhmmssZ", "latin1");
  bytes[0] = isUtc ? tag.utcTime : tag.generalizedTime;
  bytes[1] = bytes.length - 2;
  if (!isUtc) writeTwoDigits(bytes, 2, Math.floor(year / 100));
  let at = isUtc ? 2 : 4;
  const parts = [year % 100, date.getUTCMonth() + 1, date.getUTCDate()];
  for (const part of [...parts, date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()]) {
    writeTwoDigits(bytes, at, part);
    at += 2;
  }
  return bytes;
}

function writeTwoDigits(bytes: Buffer, at: number, value: number): void {
  bytes[at] = 0x30 + Math.floor(value / 10);
  bytes[at + 1] = 0x30 + (value % 10);
}

/** Ecdsa-Sig-Value (RFC 3279 2.2.3) of the two halves that a token answers: each an unsigned number of equal length. */
export function ecdsaSignature(halves: Uint8Array): Buffer {
  const middle = halves.length / 2;
  return sequence(unsigned(halves.subarray(0, middle)), unsigned(halves.subarray(middle)));
}

function unsigned(octets: Uint8Array): Buffer {
  const first = octets.findIndex((octet) => octet !== 0);
  const digits = first < 0 ? octets.subarray(-1) : octets.subarray(first);
  const sign = (digits[0] ?? 0) >= 0x80 ? Buffer.from([0]) : Buffer.alloc(0);
  return tlv(tag.integer, sign, digits);
}
