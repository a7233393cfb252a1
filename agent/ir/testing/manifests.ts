// Golden inputs: Kubernetes manifests as users write them, read by the agent's own parsers, and one document of kind Mesh with
// what the fleet adds (defaults: cluster east of acme.mesh, mesh namespace shop).
import { parseAllDocuments } from "yaml";
import type { Problem, Result } from "../../../shared/result.ts";
import { fieldOf } from "../../kube/json.ts";
import { parseEndpointSlice } from "../../kube/parse/endpoint-slice.ts";
import { parseHttpRouteGroup } from "../../kube/parse/http-route-group.ts";
import { parseMeshConfig } from "../../kube/parse/mesh-config.ts";
import { parseNamespace } from "../../kube/parse/namespace.ts";
import { parsePod } from "../../kube/parse/pod.ts";
import { parseServiceExport } from "../../kube/parse/service-export.ts";
import { parseService } from "../../kube/parse/service.ts";
import { parseTcpRoute } from "../../kube/parse/tcp-route.ts";
import { parseTrafficSplit } from "../../kube/parse/traffic-split.ts";
import { parseTrafficTarget } from "../../kube/parse/traffic-target.ts";
import { egressAnnotation } from "../egress.ts";
import type { MeshInputs } from "../inputs.ts";
import { permissiveAnnotation } from "../modes.ts";
import { someInputs } from "./objects.ts";

const kinds: Readonly<
  Record<string, { readonly list: keyof MeshInputs; readonly parse: (object: unknown) => Result<unknown> }>
> = {
  Service: { list: "services", parse: parseService },
  EndpointSlice: { list: "slices", parse: parseEndpointSlice },
  Pod: { list: "pods", parse: parsePod },
  ServiceExport: { list: "exports", parse: parseServiceExport },
  TrafficTarget: { list: "trafficTargets", parse: parseTrafficTarget },
  HTTPRouteGroup: { list: "httpRouteGroups", parse: parseHttpRouteGroup },
  TCPRoute: { list: "tcpRoutes", parse: parseTcpRoute },
  UDPRoute: { list: "udpRoutes", parse: parseTcpRoute },
  TrafficSplit: { list: "trafficSplits", parse: parseTrafficSplit },
  MeshConfig: { list: "meshConfigs", parse: parseMeshConfig },
};

type NamespaceWords = Required<Pick<MeshInputs, "namespaceModes" | "namespaceEgress">>;

/** What one Namespace says. */
function namespaceWords(object: unknown): NamespaceWords {
  const parsed = parseNamespace(object);
  if (!parsed.ok) throw new Error(explain(parsed.error));
  const { name: namespace, annotations } = parsed.value;
  const { [permissiveAnnotation]: permissive, [egressAnnotation]: egress } = annotations;
  return {
    namespaceModes: permissive === undefined ? [] : [{ namespace, permissive }],
    namespaceEgress: egress === undefined ? [] : [{ namespace, egress }],
  };
}

function explain(problems: readonly Problem[]): string {
  return problems.map(({ field, message }) => `${field ?? ""}: ${message}`).join("; ");
}

export function inputsOf(text: string): MeshInputs {
  const lists: Record<string, unknown[]> = {};
  let mesh: Partial<MeshInputs> = {};
  for (const document of parseAllDocuments(text)) {
    const object: unknown = document.toJS();
    const kind = String(fieldOf(object, "kind"));
    if (kind === "Mesh") {
      mesh = fieldOf(object, "spec") as Partial<MeshInputs>;
      continue;
    }
    if (kind === "Namespace") {
      for (const [list, words] of Object.entries(namespaceWords(object))) (lists[list] ??= []).push(...words);
      continue;
    }
    const known = kinds[kind];
    if (known === undefined) throw new Error(`no parser for kind ${kind}`);
    const parsed = known.parse(object);
    if (!parsed.ok) throw new Error(`${kind} ${String(fieldOf(object, "metadata", "name"))}: ${explain(parsed.error)}`);
    if (parsed.value !== undefined) (lists[known.list] ??= []).push(parsed.value);
  }
  return someInputs({ ...mesh, ...(lists as Partial<MeshInputs>) });
}
