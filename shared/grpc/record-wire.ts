// Registry records <-> their wire form. `fromWire` is the gate where another program's data enters: hub (publish) and
// agent (watch) both call it, so neither trusts the other's checks. Pure; messages name the field, never echo long input.
import { parseClusterName } from "../ids.ts";
import type {
  CapacityRecord,
  ExportedPort,
  GatewayRecord,
  PolicyRecord,
  PortCapacity,
  RegistryRecord,
  ServiceRecord,
} from "../registry.ts";
import { maxManifestBytes } from "../registry.ts";
import { err, ok, type Problem, type Result } from "../result.ts";
import type { WireCapacity, WireGateway, WirePolicy, WireRecord, WireService } from "./fleet-messages.ts";
import { checkGatewayHost, type AddressRules } from "./gateway-host.ts";

const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const subdomain = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
/** IANA service name or a prefixed name such as kubernetes.io/h2c. */
const appProtocolText = /^[A-Za-z0-9]([A-Za-z0-9._/-]{0,251}[A-Za-z0-9])?$/;
/** Value of a Kubernetes label (topology.kubernetes.io/zone). */
const localityText = /^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/;
/** Names of kinds are theirs who read them: a hub carries policy, it does not know it. */
const kindName = /^[A-Za-z]{1,64}$/;
const protocols: ReadonlySet<string> = new Set(["TCP", "UDP", "SCTP"]);
const types: ReadonlySet<string> = new Set(["ClusterSetIP", "Headless"]);

const maxPorts = 100;
const maxServiceAccounts = 250;
const maxGatewayAddresses = 64;
const maxPolicyMembers = 256;
/** More endpoints than a cluster can hold: a larger figure would only shift traffic. */
const maxEndpoints = 1_000_000;

export function toWire(record: RegistryRecord): WireRecord {
  const { cluster } = record;
  switch (record.kind) {
    case "service": {
      const { namespace, name, exportedAtMs, type, ports, serviceAccounts } = record;
      return {
        cluster,
        kind: "service",
        service: { namespace, name, exportedAtMs, type, ports: [...ports], serviceAccounts: [...serviceAccounts] },
      };
    }
    case "capacity": {
      const { namespace, name, ports } = record;
      return { cluster, kind: "capacity", capacity: { namespace, name, ports: [...ports] } };
    }
    case "gateway": {
      const { addresses, region, zone } = record;
      return { cluster, kind: "gateway", gateway: { addresses: [...addresses], region, zone } };
    }
    case "policy": {
      const { policyKind, namespace, name, members, manifest } = record;
      return { cluster, kind: "policy", policy: { policyKind, namespace, name, members: [...members], manifest } };
    }
  }
}

export function fromWire(wire: WireRecord, rules: AddressRules): Result<RegistryRecord> {
  const problems: Problem[] = [];
  const check: Check = (holds, field, message) => {
    if (!holds) problems.push({ code: "ISTHMUS_RECORD", message, field });
  };
  const cluster = parseClusterName(wire.cluster);
  if (!cluster.ok) problems.push(...cluster.error.map((problem) => ({ ...problem, field: "cluster" })));
  const record = readKind(wire, { check, rules, problems });
  if (record === undefined || problems.length > 0) return err(problems);
  return ok(record);
}

type Check = (holds: boolean, field: string, message: string) => void;

interface Reader {
  readonly check: Check;
  readonly rules: AddressRules;
  readonly problems: Problem[];
}

function readKind(wire: WireRecord, reader: Reader): RegistryRecord | undefined {
  switch (wire.kind) {
    case "service":
      return readService(wire.cluster, wire.service, reader);
    case "capacity":
      return readCapacity(wire.cluster, wire.capacity, reader);
    case "gateway":
      return readGateway(wire.cluster, wire.gateway, reader);
    case "policy":
      return readPolicy(wire.cluster, wire.policy, reader);
    case undefined:
      reader.check(false, "kind", "unknown kind of record: the sender is newer than this program");
      return undefined;
  }
}

/** An exported service of any kind: both names go into SNI names and DNS, so they are labels. */
function checkNames(record: { readonly namespace: string; readonly name: string }, { check }: Reader): void {
  check(label.test(record.namespace), "namespace", "not a DNS label");
  check(label.test(record.name), "name", "not a DNS label");
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65_535;
}

function readService(cluster: string, wire: WireService, reader: Reader): ServiceRecord {
  const { check } = reader;
  checkNames(wire, reader);
  check(Number.isSafeInteger(wire.exportedAtMs) && wire.exportedAtMs >= 0, "exportedAtMs", "not a time in ms");
  check(types.has(wire.type), "type", "not ClusterSetIP or Headless");
  check(wire.ports.length <= maxPorts, "ports", `more than ${maxPorts} ports`);
  wire.ports.forEach((port, at) => {
    const field = `ports[${at}]`;
    check(port.name === "" || label.test(port.name), `${field}.name`, "not a DNS label");
    check(isPort(port.port), `${field}.port`, "not a port number");
    check(protocols.has(port.protocol), `${field}.protocol`, "not TCP, UDP or SCTP");
    check(port.appProtocol === "" || appProtocolText.test(port.appProtocol), `${field}.appProtocol`, "not a name");
  });
  const portKeys = new Set(wire.ports.map((port) => `${port.port}/${port.protocol}`));
  check(portKeys.size === wire.ports.length, "ports", "the same port twice");
  check(wire.serviceAccounts.length <= maxServiceAccounts, "serviceAccounts", `more than ${maxServiceAccounts}`);
  wire.serviceAccounts.forEach((account, at) => {
    check(subdomain.test(account), `serviceAccounts[${at}]`, "not a service account's name");
  });
  return {
    kind: "service",
    cluster,
    namespace: wire.namespace,
    name: wire.name,
    exportedAtMs: wire.exportedAtMs,
    type: wire.type as ServiceRecord["type"],
    ports: wire.ports.map(({ name, port, protocol, appProtocol }) => ({
      name,
      port,
      protocol: protocol as ExportedPort["protocol"],
      appProtocol,
    })),
    serviceAccounts: [...new Set(wire.serviceAccounts)].sort(),
  };
}

function readCapacity(cluster: string, wire: WireCapacity, reader: Reader): CapacityRecord {
  const { check } = reader;
  checkNames(wire, reader);
  check(wire.ports.length <= maxPorts, "ports", `more than ${maxPorts} ports`);
  wire.ports.forEach(({ port, ready, total, failing = 0 }, at) => {
    check(isPort(port), `ports[${at}].port`, "not a port number");
    check(total <= maxEndpoints, `ports[${at}].total`, `more than ${maxEndpoints} endpoints`);
    check(ready <= total, `ports[${at}].ready`, "more ready endpoints than endpoints");
    check(failing <= ready, `ports[${at}].failing`, "more failing endpoints than ready ones");
  });
  const ports: readonly PortCapacity[] = wire.ports.map(({ failing = 0, ...each }) =>
    failing === 0 ? each : { ...each, failing },
  );
  return { kind: "capacity", cluster, namespace: wire.namespace, name: wire.name, ports };
}

function readGateway(cluster: string, wire: WireGateway, reader: Reader): GatewayRecord {
  const { check, rules, problems } = reader;
  check(wire.addresses.length <= maxGatewayAddresses, "addresses", `more than ${maxGatewayAddresses} addresses`);
  wire.addresses.forEach(({ host, port }, at) => {
    const allowed = checkGatewayHost(host, rules, `addresses[${at}].host`);
    if (!allowed.ok) problems.push(...allowed.error);
    check(isPort(port), `addresses[${at}].port`, "not a port number");
  });
  check(localityText.test(wire.region), "region", "not a label value");
  check(localityText.test(wire.zone), "zone", "not a label value");
  const addresses = wire.addresses.map(({ host, port }) => ({ host, port }));
  return { kind: "gateway", cluster, addresses, region: wire.region, zone: wire.zone };
}

function readPolicy(cluster: string, wire: WirePolicy, { check }: Reader): PolicyRecord {
  const { policyKind, namespace, name, members, manifest } = wire;
  check(kindName.test(policyKind), "policyKind", "not the name of a kind");
  check(label.test(namespace), "namespace", "not a DNS label");
  check(subdomain.test(name), "name", "not an object's name");
  check(members.length > 0 && members.length <= maxPolicyMembers, "members", `not 1 to ${maxPolicyMembers} members`);
  const isAll = members.length === 1 && members[0] === "*";
  if (!isAll) members.forEach((member, at) => check(label.test(member), `members[${at}]`, "not a member's name"));
  check(Buffer.byteLength(manifest) <= maxManifestBytes, "manifest", `larger than ${maxManifestBytes} bytes`);
  return { kind: "policy", cluster, policyKind, namespace, name, members: [...new Set(members)].sort(), manifest };
}
