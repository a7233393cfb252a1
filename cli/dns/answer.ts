// What a DNS message is answered with. Pure: the same bytes and the same zone give the same bytes.
import {
  encodeFailure,
  encodeResponse,
  MAX_TCP_BYTES,
  parseQuery,
  recordType,
  responseCode,
  udpLimit,
  type Answer,
  type Query,
} from "./message.ts";
import { find, type Zone } from "./zone.ts";

export type Transport = "udp" | "tcp";

export interface ServerView {
  readonly zone: Zone;
  /** Names that are not the site's are asked for elsewhere. */
  readonly forwards: boolean;
}

/** "ask": the question is for another server; `failed` is what its client gets when none answers. */
export type Reply =
  | { readonly kind: "send"; readonly bytes: Uint8Array }
  | { readonly kind: "ask"; readonly failed: Uint8Array }
  | { readonly kind: "nothing" };

/** A service that comes, goes or moves is known to callers after so long. */
const TTL_SECONDS = 5;

export function replyTo(bytes: Uint8Array, { zone, forwards }: ServerView, transport: Transport): Reply {
  const parsed = parseQuery(bytes);
  if (parsed.kind === "nothing") return parsed;
  if (parsed.kind === "malformed")
    return { kind: "send", bytes: encodeFailure(parsed.id, parsed.opcode, responseCode.formatError) };
  const { query } = parsed;
  const encode = (answer: Partial<Answer>) => {
    const limit = transport === "tcp" ? MAX_TCP_BYTES : udpLimit(query);
    return encodeResponse(query, { ...empty, recursionAvailable: forwards, ...answer }, limit);
  };
  const objection = objectionTo(query);
  if (objection !== undefined) return { kind: "send", bytes: encode({ code: objection }) };
  const found = find(zone, query.name);
  if (found.kind === "elsewhere") {
    if (forwards) return { kind: "ask", failed: encode({ code: responseCode.serverFailure }) };
    return { kind: "send", bytes: encode({ code: responseCode.refused }) };
  }
  const here = { authoritative: true, zone: found.zone };
  if (found.kind === "absent") return { kind: "send", bytes: encode({ ...here, code: responseCode.noSuchName }) };
  const wanted = query.type === recordType.a || query.type === recordType.any;
  return { kind: "send", bytes: encode({ ...here, addresses: wanted ? found.addresses : [] }) };
}

const empty: Answer = {
  code: responseCode.none,
  authoritative: false,
  recursionAvailable: false,
  ttlSeconds: TTL_SECONDS,
  addresses: [],
  zone: "",
};

/** What a server of addresses does not do at all. */
function objectionTo({ opcode, edns, inInternet }: Query): number | undefined {
  if (opcode !== 0) return responseCode.notImplemented;
  if (edns !== undefined && edns.version > 0) return responseCode.badVersion;
  return inInternet ? undefined : responseCode.refused;
}
