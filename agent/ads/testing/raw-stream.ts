// ADS over raw HTTP/2 as a cheap client speaks it: gRPC frames by hand, delta only. For many clients in one process, where a
// gRPC library would weigh more than the server that is measured.
import type { ClientHttp2Session, ClientHttp2Stream } from "node:http2";
import { encodeJson } from "../../../shared/wire.ts";
import type { JsonMessage } from "../../xds/resource.ts";
import { adsService } from "../definition.ts";

const FRAME_HEADER_BYTES = 5;

/** One DeltaDiscoveryRequest in its gRPC frame. */
export function requestFrame(fields: JsonMessage): Buffer {
  const bytes = encodeJson("envoy.service.discovery.v3.DeltaDiscoveryRequest", fields);
  const frame = Buffer.allocUnsafe(bytes.length + FRAME_HEADER_BYTES);
  frame.writeUInt8(0, 0);
  frame.writeUInt32BE(bytes.length, 1);
  frame.set(bytes, FRAME_HEADER_BYTES);
  return frame;
}

/** Calls `take` with each whole gRPC message. */
export function eachMessage(stream: ClientHttp2Stream, take: (message: Buffer) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  stream.on("data", (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    while (rest.length >= FRAME_HEADER_BYTES) {
      const end = FRAME_HEADER_BYTES + rest.readUInt32BE(1);
      if (rest.length < end) return;
      take(rest.subarray(FRAME_HEADER_BYTES, end));
      rest = rest.subarray(end);
    }
  });
}

export function openDelta(session: ClientHttp2Session, token: string): ClientHttp2Stream {
  return session.request({
    ":method": "POST",
    ":path": adsService.DeltaAggregatedResources.path,
    "content-type": "application/grpc",
    te: "trailers",
    authorization: `Bearer ${token}`,
  });
}
