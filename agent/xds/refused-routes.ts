// RDS of everything that a caller is refused: 403 with the reason. One table for all callers of a cluster, the same bytes for each.
// Called by translate. The address that was dialled tells whom a refused request was meant for, which nothing that the caller sends could;
// it decides no more than what is counted.
import type { ClusterName } from "../../shared/ids.ts";
import type { ServiceIr } from "../ir/types.ts";
import { answerRoute } from "./connection-manager.ts";
import { fixedNames } from "./names.ts";
import { remembered } from "./remembered.ts";
import { describedRoutes, destinationOf, unknownDestination, type Destination } from "./request-metrics.ts";
import type { JsonMessage } from "./resource.ts";
import type { MeshView } from "./service-ports.ts";
import { extension, typed } from "./typed-config.ts";

export const noRoute =
  "isthmus: no route to this destination: no TrafficTarget lets this workload call it, or no service has this address and port";

/** Set over whatever the caller sent; a refused request goes no further than here, so nobody sees it. */
const addressHeader = "x-isthmus-address";

/** Of the chain that refuses: route tables can match on request headers only, so the address is made one. */
export const addressAsHeader: JsonMessage = {
  early_header_mutation_extensions: [
    extension(
      "envoy.http.early_header_mutation.header_mutation",
      "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
      {
        mutations: [
          {
            append: {
              header: { key: addressHeader, value: "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%" },
              append_action: "OVERWRITE_IF_EXISTS_OR_ADD",
            },
          },
        ],
      },
    ),
  ],
};

const input = extension("address", "envoy.type.matcher.v3.HttpRequestHeaderMatchInput", { header_name: addressHeader });

function refusal(to: Destination): readonly JsonMessage[] {
  return describedRoutes([answerRoute({ prefix: "/" }, 403, noRoute)], to);
}

function action(to: Destination): JsonMessage {
  const [route] = refusal(to);
  return { action: { name: "route", typed_config: typed("envoy.config.route.v3.Route", route) } };
}

/** Pods of headless services come and go, and every caller would be told: requests to their addresses are counted as unknown. */
function destinations(mesh: MeshView, cluster: ClusterName): readonly (readonly [string, Destination])[] {
  const services = new Set(mesh.ports.map(({ service }) => service).filter((service) => !service.headless));
  return [...services].flatMap((service) => {
    const to = destinationOf(service, cluster);
    return service.vips.map((address) => [address, to] as const);
  });
}

export function refusedRoutes(mesh: MeshView, cluster: ClusterName): JsonMessage {
  return remembered(mesh, `refused|${cluster}`, () => {
    const map = Object.fromEntries(destinations(mesh, cluster).map(([address, to]) => [address, action(to)]));
    const byAddress = Object.keys(map).length === 0 ? {} : { matcher_tree: { input, exact_match_map: { map } } };
    return {
      name: fixedNames.denyHttp,
      virtual_hosts: [
        {
          name: fixedNames.denyHttp,
          domains: ["*"],
          matcher: { ...byAddress, on_no_match: action(unknownDestination) },
        },
      ],
    };
  });
}

/** The routes of a listener that refuses this service alone. */
export function refusedService(service: ServiceIr, cluster: ClusterName): JsonMessage {
  const routes = refusal(destinationOf(service, cluster));
  return { name: fixedNames.denyHttp, virtual_hosts: [{ name: fixedNames.denyHttp, domains: ["*"], routes }] };
}
