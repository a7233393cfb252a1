// Which kinds of manifests a site reads, and what each becomes: the same records as in Kubernetes, by the same parsers.
// Called by manifest-file.ts; pure.
import { isObject, stringOf, fieldOf, type JsonObject } from "../kube/json.ts";
import { parseEndpointSlice } from "../kube/parse/endpoint-slice.ts";
import { readObject } from "../kube/parse/field-reader.ts";
import { parseHttpRouteGroup } from "../kube/parse/http-route-group.ts";
import { parseMeshConfig } from "../kube/parse/mesh-config.ts";
import { readAnnotations, readName } from "../kube/parse/metadata.ts";
import { parseServiceExport } from "../kube/parse/service-export.ts";
import { parseService } from "../kube/parse/service.ts";
import { parseTcpRoute } from "../kube/parse/tcp-route.ts";
import { parseTrafficSplit } from "../kube/parse/traffic-split.ts";
import { parseTrafficTarget } from "../kube/parse/traffic-target.ts";
import { egressAnnotation } from "../ir/egress.ts";
import { permissiveAnnotation } from "../ir/modes.ts";
import { ok, rejected, type Result } from "../../shared/result.ts";
import { apiVersionsOf } from "../smi/versions.ts";
import { parseWorkload, type WorkloadManifest } from "./workload.ts";
import type {
  ExportInput,
  HttpRouteGroupInput,
  MeshConfigInput,
  ServiceInput,
  SliceInput,
  TcpRouteInput,
  TrafficSplitInput,
  TrafficTargetInput,
} from "../ir/inputs.ts";

interface NamespaceManifest {
  readonly namespace: "";
  readonly name: string;
  /** Annotation isthmus.dev/permissive, when it is there. */
  readonly permissive?: string;
  /** Annotation isthmus.dev/egress, when it is there. */
  readonly egress?: string;
}

/** Records by kind. */
export interface SiteRecords {
  readonly Namespace: NamespaceManifest;
  readonly Service: ServiceInput;
  readonly EndpointSlice: SliceInput;
  readonly ServiceExport: ExportInput;
  readonly TrafficTarget: TrafficTargetInput;
  readonly HTTPRouteGroup: HttpRouteGroupInput;
  readonly TCPRoute: TcpRouteInput;
  readonly UDPRoute: TcpRouteInput;
  readonly TrafficSplit: TrafficSplitInput;
  readonly MeshConfig: MeshConfigInput;
  readonly Workload: WorkloadManifest;
}

export type SiteKind = keyof SiteRecords;

interface KindRow {
  readonly apiVersions: readonly string[];
  readonly parse: (object: unknown) => Result<SiteRecords[SiteKind] | undefined>;
}

const kinds: { readonly [K in SiteKind]: KindRow } = {
  Namespace: { apiVersions: ["v1"], parse: parseNamespaceManifest },
  Service: { apiVersions: ["v1"], parse: parseService },
  EndpointSlice: { apiVersions: ["discovery.k8s.io/v1"], parse: parseEndpointSlice },
  ServiceExport: {
    apiVersions: ["multicluster.x-k8s.io/v1beta1", "multicluster.x-k8s.io/v1alpha1"],
    parse: parseServiceExport,
  },
  TrafficTarget: { apiVersions: apiVersionsOf("TrafficTarget"), parse: parseTrafficTarget },
  HTTPRouteGroup: { apiVersions: apiVersionsOf("HTTPRouteGroup"), parse: parseHttpRouteGroup },
  TCPRoute: { apiVersions: apiVersionsOf("TCPRoute"), parse: parseTcpRoute },
  UDPRoute: { apiVersions: apiVersionsOf("UDPRoute"), parse: parseTcpRoute },
  TrafficSplit: { apiVersions: apiVersionsOf("TrafficSplit"), parse: parseTrafficSplit },
  MeshConfig: {
    apiVersions: ["config.openservicemesh.io/v1alpha2", "config.openservicemesh.io/v1alpha1"],
    parse: parseMeshConfig,
  },
  Workload: { apiVersions: ["isthmus.dev/v1alpha1"], parse: parseWorkload },
};

/** What the agent makes of the fleet itself: one that was dumped from a cluster is no mistake. */
const leftOut: ReadonlySet<string> = new Set(["ServiceImport"]);
/** Stands for "not written down": the site remembers when it first saw the export. */
const NO_TIME = "1970-01-01T00:00:00Z";

export interface SiteObject<K extends SiteKind = SiteKind> {
  readonly kind: K;
  /** Undefined: the object means nothing to the mesh. */
  readonly record: SiteRecords[K] | undefined;
}

/** `ok(undefined)`: a kind that is left out without a word. */
export function readSiteObject(value: unknown): Result<SiteObject | undefined> {
  if (!isObject(value)) return rejected("ISTHMUS_MANIFEST", "expected an object with apiVersion, kind and metadata");
  const [apiVersion, kind] = [stringOf(fieldOf(value, "apiVersion")), stringOf(fieldOf(value, "kind"))];
  if (leftOut.has(kind)) return ok(undefined);
  const row = isSiteKind(kind) ? kinds[kind] : undefined;
  if (row === undefined || !isSiteKind(kind)) {
    const expected = `a site reads ${Object.keys(kinds).join(", ")}`;
    return rejected(unknownKindCode, `kind "${kind.slice(0, 64)}" is left out: ${expected}`, "kind");
  }
  if (!row.apiVersions.includes(apiVersion)) {
    const expected = `expected apiVersion ${row.apiVersions.join(" or ")}`;
    return rejected(unknownKindCode, `${kind} of "${apiVersion.slice(0, 64)}" is left out: ${expected}`, "apiVersion");
  }
  const parsed = row.parse(withDefaults(kind, value));
  return parsed.ok ? ok({ kind, record: parsed.value }) : parsed;
}

export const unknownKindCode = "ISTHMUS_MANIFEST_KIND";

function isSiteKind(kind: string): kind is SiteKind {
  return Object.hasOwn(kinds, kind);
}

/** What an API server would have filled in before anybody reads the object. */
function withDefaults(kind: SiteKind, value: JsonObject): JsonObject {
  const given = fieldOf(value, "metadata");
  if (!isObject(given)) return value;
  const metadata = { ...(kind === "Namespace" ? {} : { namespace: "default" }), creationTimestamp: NO_TIME, ...given };
  if (kind !== "Service") return { ...value, metadata };
  const spec = fieldOf(value, "spec");
  const clusterIp = fieldOf(spec, "clusterIP");
  if (!isObject(spec) || typeof clusterIp !== "string" || spec["clusterIPs"] !== undefined)
    return { ...value, metadata };
  return { ...value, metadata, spec: { ...spec, clusterIPs: [clusterIp] } };
}

function parseNamespaceManifest(object: unknown): Result<NamespaceManifest> {
  return readObject(object, (root) => {
    const { [permissiveAnnotation]: permissive, [egressAnnotation]: egress } = readAnnotations(root);
    const name = readName(root.at("metadata").at("name"));
    return {
      ...{ namespace: "", name },
      ...(permissive === undefined ? {} : { permissive }),
      ...(egress === undefined ? {} : { egress }),
    };
  });
}
