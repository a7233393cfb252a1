// The HTTP connection manager as every listener of the mesh has it: one normalisation of paths on clients, servers and
// gateways (envoy-facts 10), since a path that two hops read differently is a way around policy. Called by listeners, inbound, gateway.
import type { JsonMessage } from "./resource.ts";
import { extension, fromAds } from "./typed-config.ts";

export interface ConnectionManagerInput {
  readonly statPrefix: string;
  readonly codec: "AUTO" | "HTTP2";
  /** Routes by name over RDS, or inline where they never change. */
  readonly routes: { readonly rds: string } | { readonly inline: JsonMessage };
  /** Filters before the router. */
  readonly filters?: readonly JsonMessage[];
  readonly extra?: JsonMessage;
}

const router = extension("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router", {
  suppress_envoy_headers: true,
});

export function connectionManager(input: ConnectionManagerInput): JsonMessage {
  const routes: JsonMessage =
    "rds" in input.routes
      ? { rds: { config_source: fromAds, route_config_name: input.routes.rds } }
      : { route_config: input.routes.inline };
  return extension(
    "envoy.filters.network.http_connection_manager",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    {
      stat_prefix: input.statPrefix,
      codec_type: input.codec,
      ...routes,
      http_filters: [...(input.filters ?? []), router],
      normalize_path: true,
      merge_slashes: true,
      path_with_escaped_slashes_action: "UNESCAPE_AND_REDIRECT",
      // the application's traffic stays its own: no header of ours, no time-out that it did not ask for
      server_header_transformation: "PASS_THROUGH",
      skip_xff_append: true,
      preserve_external_request_id: true,
      stream_idle_timeout: "0s",
      http_protocol_options: { accept_http_10: true, default_host_for_http_10: "unspecified", enable_trailers: true },
      // one malformed request must not end the other streams of its connection
      http2_protocol_options: { allow_connect: true, override_stream_error_on_invalid_http_message: true },
      upgrade_configs: [{ upgrade_type: "websocket" }],
      ...input.extra,
    },
  );
}

/** A route that answers by itself. */
export function answerRoute(match: JsonMessage, status: number, text: string): JsonMessage {
  return { match, direct_response: { status, body: { inline_string: `${text}\n` } } };
}

/** A route configuration that gives every request the same answer. */
export function answerAll(name: string, status: number, text: string): JsonMessage {
  return {
    name,
    virtual_hosts: [
      {
        name,
        domains: ["*"],
        routes: [answerRoute({ prefix: "/" }, status, text)],
      },
    ],
  };
}
