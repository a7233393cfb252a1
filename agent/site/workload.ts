// isthmus.dev/v1alpha1 Workload -> WorkloadManifest: a program on this machine, or on one that its addresses name, with the
// account that its sidecar holds. Read by the same field reader as every Kubernetes object.
import { isIP } from "node:net";
import type { Result } from "../../shared/result.ts";
import { readObject, type FieldReader } from "../kube/parse/field-reader.ts";
import { entryOf, readAnnotations, readLabels, readName, readNames } from "../kube/parse/metadata.ts";
import { pidAnnotation } from "./credential-folder.ts";

export interface SocketAddress {
  readonly address: string;
  readonly port: number;
}

export interface WorkloadPort {
  readonly name: string;
  /** Where the sidecar takes calls of the mesh. */
  readonly port: number;
  readonly appProtocol: string;
  /** Where the application answers. */
  readonly application: SocketAddress;
}

export interface HealthCheck extends SocketAddress {
  /** Absent: a TCP connection is enough. */
  readonly path?: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

export interface WorkloadManifest {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  /** Empty: an endpoint only of the Services that select its labels. */
  readonly service: string;
  /** Empty: its own loopback address. */
  readonly addresses: readonly string[];
  readonly ports: readonly WorkloadPort[];
  /** Absent: always ready. */
  readonly healthCheck?: HealthCheck;
  /** Owner of its credential; empty: the agent's user. */
  readonly user: string;
  /** Its connections are redirected into its sidecar (`isthmus run --redirect`). */
  readonly redirect: boolean;
  /** Of the `isthmus run` that registered it; 0: declared by a person. */
  readonly pid: number;
}

/** Of the accounts of the agent and the gateway, as in Kubernetes. */
export const systemNamespace = "isthmus-system";
const MAX_PORTS = 256;
const MAX_ADDRESSES = 8;
const defaultHealth = { intervalMs: 1_000, timeoutMs: 1_000 };
const userName = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/;

export function parseWorkload(object: unknown): Result<WorkloadManifest> {
  return readObject(object, (root) => {
    const spec = root.at("spec").map();
    const healthCheck = readHealth(spec.at("healthCheck"));
    const names = readNames(root);
    // whoever could name a workload there could ask for the gateway's or the agent's own credential
    if (names.namespace === systemNamespace)
      root.at("metadata").at("namespace").report("is the agent's own; choose another");
    return {
      ...names,
      labels: readLabels(root),
      serviceAccount: readName(spec.at("serviceAccount")),
      service: spec.at("service").raw === undefined ? "" : readName(spec.at("service")),
      addresses: spec.at("addresses").list({ max: MAX_ADDRESSES }).map(readAddress),
      ports: readPorts(spec.at("ports")),
      ...(healthCheck === undefined ? {} : { healthCheck }),
      user: spec.at("user").text({ otherwise: "", pattern: userName, wanted: "the name or the number of a user" }),
      redirect: spec.at("redirect").flag(false),
      pid: readPid(root),
    };
  });
}

function readAddress(field: FieldReader): string {
  const address = field.text({ maxLength: 45 });
  if (address !== "" && isIP(address) === 0) field.report("must be an IP address");
  return address;
}

function readPorts(field: FieldReader): readonly WorkloadPort[] {
  const seen = new Set<number>();
  return field.list({ max: MAX_PORTS }).map((item) => {
    const port = item.map().at("port").integer({ min: 1, max: 65_535 });
    if (seen.has(port)) item.at("port").report(`${port} is there twice`);
    seen.add(port);
    return {
      name: item.at("name").text({ otherwise: "", maxLength: 63 }),
      port,
      appProtocol: item.at("appProtocol").text({ otherwise: "", maxLength: 316 }),
      application: readApplication(item.at("application"), port),
    };
  });
}

function readApplication(field: FieldReader, port: number): SocketAddress {
  if (field.raw === undefined || field.raw === null) return { address: "127.0.0.1", port };
  const match = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9.]{7,15})):(\d{1,5})$/.exec(field.text({ maxLength: 64 }));
  const [address, number] = [match?.[1] ?? match?.[2] ?? "", Number(match?.[3] ?? 0)];
  if (isIP(address) === 0 || number < 1 || number > 65_535) field.report("must be IP:PORT, such as 127.0.0.1:9090");
  return { address, port: number };
}

function readHealth(field: FieldReader): HealthCheck | undefined {
  if (field.raw === undefined || field.raw === null) return undefined;
  field.map();
  const tcp = field.at("tcp").flag(false);
  const path = field.at("path").text({ otherwise: "", maxLength: 1024 });
  if (tcp === (path !== "")) field.report("must have either path or tcp: true");
  if (path !== "" && !/^\/[\x21-\x7e]*$/.test(path)) field.at("path").report("must begin with / and hold no spaces");
  const { intervalMs, timeoutMs } = defaultHealth;
  return {
    address: field.at("address").raw === undefined ? "127.0.0.1" : readAddress(field.at("address")),
    port: field.at("port").integer({ min: 1, max: 65_535 }),
    ...(path === "" ? {} : { path }),
    intervalMs: field.at("intervalMs").integer({ min: 50, max: 3_600_000, otherwise: intervalMs }),
    timeoutMs: field.at("timeoutMs").integer({ min: 10, max: 60_000, otherwise: timeoutMs }),
  };
}

function readPid(root: FieldReader): number {
  const text = entryOf(readAnnotations(root), pidAnnotation);
  if (text === "") return 0;
  const pid = /^[1-9]\d{0,9}$/.test(text) ? Number(text) : 0;
  if (pid === 0) root.at("metadata").at("annotations").report(`${pidAnnotation} must be the number of a process`);
  return pid;
}
