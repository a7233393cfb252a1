// RDS and LDS of a bound sidecar whose workload's health check fails: calls that still come are sent elsewhere at once. Called by translate.
// Taking the endpoint away is not enough. A caller of another member holds a connection that its gateway passes through to this very
// sidecar, and sends on it whatever endpoints are told; an application that hangs would keep its share of calls for good.
import { fixedNames, formatName } from "./names.ts";
import { httpPolicy, type Policy } from "./rbac.ts";
import type { JsonMessage } from "./resource.ts";
import { failureHeader, type failures } from "./routes.ts";

/**
 * A listener that differs in more than its filter chains is replaced, and the old one's connections drained: each is told to go (GOAWAY)
 * with its next answer, and closed when the drain time is over.
 */
export const unreadyListener: JsonMessage = { metadata: { filter_metadata: { isthmus: { ready: false } } } };

/** That next answer: the caller's sidecar repeats the call, and on the connection that it opens for it the gateway chooses anew. */
export function unreadyRoutes(port: number, policy: Policy): JsonMessage {
  const name = formatName({ kind: "inbound", port });
  const undelivered: keyof typeof failures = "undelivered";
  const header = { key: failureHeader, value: undelivered };
  return {
    name,
    validate_clusters: false,
    virtual_hosts: [
      {
        name: fixedNames.unready,
        domains: ["*"],
        typed_per_filter_config: httpPolicy(policy),
        routes: [
          {
            match: { prefix: "/" },
            direct_response: { status: 503, body: { inline_string: "isthmus: this workload's health check fails\n" } },
            response_headers_to_add: [{ header, append_action: "OVERWRITE_IF_EXISTS_OR_ADD" }],
          },
        ],
      },
    ],
  };
}
