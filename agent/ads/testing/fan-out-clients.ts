// Many ADS clients in one process, apart from the server that is measured: raw HTTP/2, delta, each on its own connection.
// Forked by fan-out.ts. Each asks for everything, acknowledges everything and says when a push arrived.
import { connect, type ClientHttp2Session } from "node:http2";
import protobuf from "protobufjs";
import { resourceTypes, typeUrls } from "../../xds/resource.ts";
import { eachMessage, openDelta, requestFrame } from "./raw-stream.ts";

export interface ClientsOrder {
  readonly origin: string;
  readonly from: number;
  readonly to: number;
  readonly subscriptions: Readonly<Record<string, readonly string[]>>;
}

/** "ready": all have everything. Otherwise the wall-clock times, in ms with fractions, at which the last push came. */
export type ClientsReport = { readonly ready: number } | { readonly receivedAtMs: readonly number[] };

const sessions: ClientHttp2Session[] = [];
let receivedAtMs: number[] = [];
let settled = 0;

function typeAndNonce(message: Uint8Array): { readonly typeUrl: string; readonly nonce: string } {
  const reader = protobuf.Reader.create(message);
  let typeUrl = "";
  let nonce = "";
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag >>> 3 === 4) typeUrl = reader.string();
    else if (tag >>> 3 === 5) nonce = reader.string();
    else reader.skipType(tag & 7);
  }
  return { typeUrl, nonce };
}

async function open(order: ClientsOrder, index: number): Promise<void> {
  const session = connect(order.origin, { rejectUnauthorized: false, servername: "agent" });
  sessions.push(session);
  const stream = openDelta(session, "token");
  const left = new Set<string>(
    resourceTypes.filter((type) => order.subscriptions[type] !== undefined).map((type) => typeUrls[type]),
  );
  await new Promise<void>((resolve, reject) => {
    session.on("error", reject);
    stream.on("error", reject);
    eachMessage(stream, (message) => {
      const now = performance.timeOrigin + performance.now();
      const { typeUrl, nonce } = typeAndNonce(message);
      stream.write(requestFrame({ type_url: typeUrl, response_nonce: nonce }));
      if (left.size === 0) noteArrival(now);
      if (left.delete(typeUrl) && left.size === 0) resolve();
    });
    let first = true;
    for (const [type, names] of Object.entries(order.subscriptions)) {
      const node = first ? { node: { id: `sidecar~front-1.shop`, user_agent_name: String(index) } } : {};
      first = false;
      stream.write(
        requestFrame({ ...node, type_url: typeUrls[type as keyof typeof typeUrls], resource_names_subscribe: names }),
      );
    }
  });
  settled += 1;
}

function noteArrival(atMs: number): void {
  receivedAtMs.push(atMs);
  if (receivedAtMs.length < settled) return;
  const report: ClientsReport = { receivedAtMs };
  receivedAtMs = [];
  process.send?.(report);
}

process.on("message", (order: ClientsOrder) => {
  void (async () => {
    const width = 20;
    for (let index = order.from; index < order.to; index += width) {
      await Promise.all(
        Array.from({ length: Math.min(width, order.to - index) }, (_, offset) => open(order, index + offset)),
      );
    }
    const report: ClientsReport = { ready: settled };
    process.send?.(report);
  })();
});
