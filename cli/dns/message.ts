// DNS messages as far as a server of addresses needs them: reads one question, writes one response (RFC 1035 4, EDNS0 of RFC 6891).
// Pure. Whatever comes over the network is read within its bounds: a question's name cannot be compressed, for nothing stands before
// it that it could point to, and other names are stepped over and never followed, so there is no loop to fall into.

export const recordType = { a: 1, soa: 6, aaaa: 28, opt: 41, any: 255 } as const;
export const responseCode = {
  none: 0,
  formatError: 1,
  serverFailure: 2,
  noSuchName: 3,
  notImplemented: 4,
  refused: 5,
  badVersion: 16,
} as const;

export interface Query {
  readonly id: number;
  readonly opcode: number;
  readonly recursionDesired: boolean;
  /** As it came, to be sent back letter by letter: a client may have mixed cases to recognise its answer. */
  readonly question: Uint8Array;
  /** Lower case, without the last dot. A label with a dot or another odd byte in it makes a name that nobody has. */
  readonly name: string;
  readonly type: number;
  readonly inInternet: boolean;
  /** Undefined: the client does not speak EDNS. */
  readonly edns: { readonly udpBytes: number; readonly version: number } | undefined;
}

/** "nothing": not to be answered at all, or two servers could keep each other busy. */
export type Parsed =
  | { readonly kind: "query"; readonly query: Query }
  | { readonly kind: "malformed"; readonly id: number; readonly opcode: number }
  | { readonly kind: "nothing" };

const HEADER_BYTES = 12;
const MAX_NAME_BYTES = 255;
const MAX_LABEL_BYTES = 63;
const CLASS_IN = 1;
const CLASS_ANY = 255;
const FLAG_RESPONSE = 0x8000;
const FLAG_AUTHORITATIVE = 0x0400;
const FLAG_TRUNCATED = 0x0200;
const FLAG_RECURSION_DESIRED = 0x0100;
const FLAG_RECURSION_AVAILABLE = 0x0080;
const OPCODE_SHIFT = 11;
/** What every client takes over UDP, and the most that passes any network unfragmented (DNS flag day 2020). */
const PLAIN_UDP_BYTES = 512;
const OWN_UDP_BYTES = 1232;
export const MAX_TCP_BYTES = 65_535;

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function parseQuery(bytes: Uint8Array): Parsed {
  if (bytes.length < HEADER_BYTES) return { kind: "nothing" };
  const view = viewOf(bytes);
  const [id, flags] = [view.getUint16(0), view.getUint16(2)];
  if ((flags & FLAG_RESPONSE) !== 0) return { kind: "nothing" };
  const opcode = (flags >> OPCODE_SHIFT) & 15;
  const malformed = { kind: "malformed", id, opcode } as const;
  const name = view.getUint16(4) === 1 ? readName(bytes, HEADER_BYTES) : undefined;
  if (name === undefined || name.end + 4 > bytes.length) return malformed;
  const questionEnd = name.end + 4;
  const records = { others: view.getUint16(6) + view.getUint16(8), additional: view.getUint16(10) };
  const edns = readEdns(bytes, questionEnd, records);
  if (edns === "malformed") return malformed;
  const questionClass = view.getUint16(name.end + 2);
  const query: Query = {
    id,
    opcode,
    recursionDesired: (flags & FLAG_RECURSION_DESIRED) !== 0,
    question: bytes.slice(HEADER_BYTES, questionEnd),
    name: name.text,
    type: view.getUint16(name.end),
    inInternet: questionClass === CLASS_IN || questionClass === CLASS_ANY,
    edns,
  };
  return { kind: "query", query };
}

interface ReadName {
  readonly text: string;
  /** Where it ends in the message. */
  readonly end: number;
}

/** Undefined for a name that is cut off, too long or compressed. */
function readName(bytes: Uint8Array, start: number): ReadName | undefined {
  const labels: string[] = [];
  for (let at = start; ;) {
    const length = bytes[at];
    if (length === undefined || length > MAX_LABEL_BYTES) return undefined;
    const end = at + 1 + length;
    if (end > bytes.length || end - start > MAX_NAME_BYTES) return undefined;
    if (length === 0) return { text: labels.join("."), end };
    labels.push(labelText(bytes.subarray(at + 1, end)));
    at = end;
  }
}

function labelText(label: Uint8Array): string {
  const text = String.fromCharCode(...label).toLowerCase();
  return /^[a-z0-9_-]+$/.test(text) ? text : "\u0000";
}

/** Steps over a name of any other record; a pointer ends it. */
function afterName(bytes: Uint8Array, start: number): number | undefined {
  for (let at = start; at < bytes.length;) {
    const length = bytes[at] ?? 0;
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2;
    if (length > MAX_LABEL_BYTES) return undefined;
    at += 1 + length;
  }
  return undefined;
}

/** RFC 6891 6.1.1: at most one OPT, among the additional records, with the root's name. */
function readEdns(
  bytes: Uint8Array,
  start: number,
  { others, additional }: { readonly others: number; readonly additional: number },
): Query["edns"] | "malformed" {
  const view = viewOf(bytes);
  let edns: Query["edns"];
  for (let [at, index] = [start, 0]; index < others + additional; index += 1) {
    const fixed = afterName(bytes, at);
    if (fixed === undefined || fixed + 10 > bytes.length) return "malformed";
    const end = fixed + 10 + view.getUint16(fixed + 8);
    if (end > bytes.length) return "malformed";
    if (view.getUint16(fixed) === recordType.opt) {
      if (edns !== undefined || index < others || fixed !== at + 1) return "malformed";
      edns = { udpBytes: view.getUint16(fixed + 2), version: view.getUint8(fixed + 5) };
    }
    at = end;
  }
  return edns;
}

export interface Answer {
  readonly code: number;
  /** What is said of the name is all there is to say. */
  readonly authoritative: boolean;
  readonly recursionAvailable: boolean;
  readonly ttlSeconds: number;
  /** IPv4, dotted. */
  readonly addresses: readonly string[];
  /** Zone that says so when there are no addresses: its SOA lets the client remember that for a while (RFC 2308); empty: none. */
  readonly zone: string;
}

/** The most that this client takes over UDP in one packet. */
export function udpLimit({ edns }: Query): number {
  return edns === undefined ? PLAIN_UDP_BYTES : Math.min(Math.max(edns.udpBytes, PLAIN_UDP_BYTES), OWN_UDP_BYTES);
}

/** A response that would be longer than `limit` is sent without records and says so: the client asks again over TCP. */
export function encodeResponse(query: Query, answer: Answer, limit: number): Uint8Array {
  const { addresses, zone } = answer;
  const answers = addresses.map((address) => addressRecord(address, answer.ttlSeconds));
  const authority = addresses.length === 0 && zone !== "" ? [soaRecord(zone, answer.ttlSeconds)] : [];
  const additional = query.edns === undefined ? [] : [optRecord(answer.code)];
  const whole = assemble({ query, answer, answers, authority, additional, truncated: false });
  if (whole.length <= limit) return whole;
  return assemble({ query, answer, answers: [], authority: [], additional, truncated: true });
}

interface Parts {
  readonly query: Query;
  readonly answer: Answer;
  readonly answers: readonly Uint8Array[];
  readonly authority: readonly Uint8Array[];
  readonly additional: readonly Uint8Array[];
  readonly truncated: boolean;
}

function assemble({ query, answer, answers, authority, additional, truncated }: Parts): Uint8Array {
  const flags =
    FLAG_RESPONSE |
    (query.opcode << OPCODE_SHIFT) |
    (answer.authoritative ? FLAG_AUTHORITATIVE : 0) |
    (truncated ? FLAG_TRUNCATED : 0) |
    (query.recursionDesired ? FLAG_RECURSION_DESIRED : 0) |
    (answer.recursionAvailable ? FLAG_RECURSION_AVAILABLE : 0) |
    (answer.code & 15);
  const header = numbers(query.id, flags, 1, answers.length, authority.length, additional.length);
  return Buffer.concat([header, query.question, ...answers, ...authority, ...additional]);
}

/** To a question that cannot be read there is only a header to send. */
export function encodeFailure(id: number, opcode: number, code: number): Uint8Array {
  return numbers(id, FLAG_RESPONSE | (opcode << OPCODE_SHIFT) | code, 0, 0, 0, 0);
}

function numbers(...values: readonly number[]): Uint8Array {
  const bytes = Buffer.alloc(values.length * 2);
  values.forEach((value, index) => bytes.writeUInt16BE(value, index * 2));
  return bytes;
}

interface RecordFields {
  readonly name: Uint8Array;
  readonly type: number;
  readonly recordClass: number;
  readonly ttl: number;
  readonly data: Uint8Array;
}

function record({ name, type, recordClass, ttl, data }: RecordFields): Uint8Array {
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(type, 0);
  fixed.writeUInt16BE(recordClass, 2);
  fixed.writeUInt32BE(ttl, 4);
  fixed.writeUInt16BE(data.length, 8);
  return Buffer.concat([name, fixed, data]);
}

/** Of the name in question, which stands right behind the header. */
function addressRecord(address: string, ttl: number): Uint8Array {
  const name = numbers(0xc000 | HEADER_BYTES);
  const data = Uint8Array.from(address.split(".").map(Number));
  return record({ name, type: recordType.a, recordClass: CLASS_IN, ttl, data });
}

/** Nobody transfers the zone, so only the last number, for how long an absence is remembered, has a reader. */
function soaRecord(zone: string, ttl: number): Uint8Array {
  const [refresh, retry, expire] = [3600, 600, 86_400];
  const counts = Buffer.alloc(20);
  [1, refresh, retry, expire, ttl].forEach((value, index) => counts.writeUInt32BE(value, index * 4));
  const data = Buffer.concat([encodeName(`ns.dns.${zone}`), encodeName(`hostmaster.${zone}`), counts]);
  return record({ name: encodeName(zone), type: recordType.soa, recordClass: CLASS_IN, ttl, data });
}

function optRecord(code: number): Uint8Array {
  const data = new Uint8Array();
  return record({
    name: Uint8Array.of(0),
    type: recordType.opt,
    recordClass: OWN_UDP_BYTES,
    ttl: (code >> 4) * 2 ** 24,
    data,
  });
}

function encodeName(name: string): Uint8Array {
  const labels = name.split(".").map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, "latin1"));
  return Buffer.concat([...labels, Uint8Array.of(0)]);
}
