// The two messages of load reporting, read and written by hand as those of ADS are (messages.ts). Field numbers are those of
// envoy/service/load_stats/v3/lrs.proto and envoy/config/endpoint/v3/load_report.proto. Called by load-reports.
import protobuf from "protobufjs";

/** Requests since the last report; a 5xx and a connection that is refused or breaks are failures (`total_error_requests`). */
export interface Answers {
  readonly succeeded: number;
  readonly failed: number;
}

export interface LoadReport {
  /** Empty where the proxy said it before. */
  readonly nodeId: string;
  /** Of all clusters together. */
  readonly answers: Answers;
}

const requestField = { node: 1, clusterStats: 2 } as const;
const nodeField = { id: 1 } as const;
const clusterStatsField = { localities: 2 } as const;
const localityField = { succeeded: 2, failed: 4 } as const;

/** Throws RangeError on bytes that are no message. */
export function decodeLoadReport(bytes: Uint8Array): LoadReport {
  const reader = protobuf.Reader.create(bytes);
  let nodeId = "";
  const answers = { succeeded: 0, failed: 0 };
  const readNode = (id: number) => {
    if (id !== nodeField.id) return false;
    nodeId = reader.string();
    return true;
  };
  eachField(reader, reader.len, (id) => {
    if (id === requestField.node) nested(reader, readNode);
    else if (id === requestField.clusterStats) nested(reader, (field) => readLocalities(reader, field, answers));
    else return false;
    return true;
  });
  return { nodeId, answers };
}

function readLocalities(reader: protobuf.Reader, id: number, into: { succeeded: number; failed: number }): boolean {
  if (id !== clusterStatsField.localities) return false;
  nested(reader, (field) => {
    if (field === localityField.succeeded) into.succeeded += Number(reader.uint64());
    else if (field === localityField.failed) into.failed += Number(reader.uint64());
    else return false;
    return true;
  });
  return true;
}

/** `read` says whether it has read the field; any other is skipped. */
function eachField(reader: protobuf.Reader, end: number, read: (id: number) => boolean): void {
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (!read(tag >>> 3)) reader.skipType(tag & 7);
  }
}

function nested(reader: protobuf.Reader, read: (id: number) => boolean): void {
  const length = reader.uint32();
  eachField(reader, reader.pos + length, read);
}

export function encodeLoadWish(clusters: readonly string[], everySeconds: number): Buffer {
  const writer = protobuf.Writer.create();
  for (const cluster of clusters) writer.uint32((1 << 3) | 2).string(cluster);
  writer.uint32((2 << 3) | 2).fork();
  writer.uint32((1 << 3) | 0).int64(everySeconds);
  return Buffer.from(writer.ldelim().finish());
}
