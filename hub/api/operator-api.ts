// The operator's API: JSON over HTTP on a Unix socket that only the hub's own user may open (the socket's mode is the
// access control). Called by the CLI on the hub's machine, or by `kubectl exec` in the hub's pod.
import express, { type ErrorRequestHandler, type Express, type Request, type Response } from "express";
import type { Clock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import { parseClusterName, type ClusterName } from "../../shared/ids.ts";
import { formatJoinToken } from "../../shared/join-token.ts";
import { causeChain, type Log } from "../../shared/log.ts";
import type { AuditEntry } from "../audit/chain.ts";
import { readAudit, type AuditLog } from "../audit/log.ts";
import type { Authority } from "../ca/authority.ts";
import { isRedisFailure } from "../store/redis-connection.ts";
import type { Federation } from "../federation/federation.ts";
import type { Departures } from "../store/departures.ts";
import type { Store } from "../store/open-store.ts";
import type { MembershipVerb } from "../registry/membership.ts";
import { federationCalls } from "./federation-calls.ts";
import { changeMembership } from "./membership.ts";
import type { MemberQuestions } from "./member-questions.ts";
import { policyBodies, policyRoutes } from "./policy-routes.ts";
import { clusterOverviews, serviceOverviews } from "./fleet-overview.ts";
import { restingName, restsUntilMs } from "./resting-name.ts";
import type { RotationDriver } from "./rotation.ts";
import { parseHold, parseProxy, parseRotationOrder } from "./rotation-order.ts";
import type { SigningWatch } from "./signing-watch.ts";
import { trustOverview } from "./trust-overview.ts";

const defaultTtlMs = 15 * 60_000;
/** A token is a bearer secret on its way through people's hands: a day is the most. */
const maxTtlMs = 24 * 3_600_000;
const minTtlMs = 1_000;

export interface OperatorDeps {
  readonly authority: Authority;
  readonly store: Store;
  readonly departures: Departures;
  readonly audit: AuditLog;
  /** `host:port` under which members reach this hub. */
  readonly advertise: string;
  readonly version: string;
  readonly dataDir: string;
  readonly questions: MemberQuestions;
  readonly bundleChanged: () => void;
  readonly rotation: RotationDriver;
  readonly signing: SigningWatch;
  readonly federation: Federation;
  readonly clock: Clock;
  readonly log: Log;
}

export function operatorApp(deps: OperatorDeps): Express {
  const { store, authority, clock, log } = deps;
  const app = express().disable("x-powered-by");
  policyBodies(app);
  app.use(express.json({ limit: "64kb" }));
  app.get("/v1/status", async (_request: Request, response: Response) => {
    response.json({
      fleetDomain: authority.fleetDomain,
      hub: deps.advertise,
      version: deps.version,
      nowMs: clock.now(),
      revision: store.live.view?.revision ?? 0,
      records: store.live.view?.size ?? 0,
      redis: store.live.connected ? "connected" : "away",
      restored: store.live.restored,
      signing: deps.signing.problems(),
      clusters: await clusterOverviews(store, clock),
    });
  });
  app.get("/v1/clusters", async (_request: Request, response: Response) => {
    response.json({ clusters: await clusterOverviews(store, clock) });
  });
  app.get("/v1/services", (_request: Request, response: Response) => {
    response.json({ services: serviceOverviews(store) });
  });
  app.post("/v1/tokens", async (request: Request, response: Response) => {
    response.status(201).json(await createToken(deps, request.body));
  });
  app.get("/v1/tokens", async (_request: Request, response: Response) => {
    response.json({ tokens: await store.tokens.list(clock.now()) });
  });
  app.post("/v1/tokens/:id/withdraw", async (request: Request<{ id: string }>, response: Response) => {
    response.json(await withdrawToken(deps, request.params.id));
  });
  app.post("/v1/members/:cluster/:verb", async (request: Request<MemberCall>, response: Response, next) => {
    const verb = membershipVerbs.find((name) => name === request.params.verb);
    if (verb === undefined) next();
    else response.json(await changeMembership({ ...deps, ...store }, verb, request.params.cluster));
  });
  rotationCalls(app, deps);
  federationCalls(app, deps.federation);
  app.get("/v1/audit", async (request: Request, response: Response) => {
    response.json(await auditPage(deps, Number(request.query["after"] ?? 0)));
  });
  policyRoutes(app, deps);
  app.post("/v1/confirm-restore", async (_request: Request, response: Response) => {
    response.json(await confirmRestore(deps));
  });
  app.use((_request: Request, response: Response) => {
    response.status(404).json(problemBody("ISTHMUS_API", "the hub has no such call", "use a CLI of the hub's version"));
  });
  const onError: ErrorRequestHandler = (error: unknown, _request, response, next) => {
    // express knows an error handler by its four parameters; a reply that has begun can only be cut
    if (response.headersSent) next(error);
    else answerError(error, response, log);
  };
  app.use(onError);
  return app;
}

async function confirmRestore({ store, audit, log }: OperatorDeps): Promise<{ restored: false }> {
  await audit.record({ action: "registry.restore-confirmed", actor: "operator", subject: "fleet", detail: {} });
  await store.registry.confirmRestore();
  store.live.setRestored(false);
  log.warn("an operator confirmed the restored registry; tokens are redeemed again");
  return { restored: false };
}

function rotationCalls(app: Express, deps: OperatorDeps): void {
  const { authority, rotation } = deps;
  rootCalls(app, deps);
  const answer = async (response: Response) =>
    response.json(await trustOverview(authority, rotation, deps.signing.problems()));
  app.get("/v1/trust", async (_request: Request, response: Response) => {
    await answer(response);
  });
  app.post("/v1/rotation", async (request: Request, response: Response) => {
    await rotation.start(parseRotationOrder(request.body));
    await answer(response);
  });
  app.post("/v1/rotation/roll-back", async (_request: Request, response: Response) => {
    await rotation.rollBack();
    await answer(response);
  });
  app.post("/v1/rotation/resume", async (request: Request, response: Response) => {
    await rotation.resume(parseHold(request.body));
    await answer(response);
  });
  app.post("/v1/rotation/set-aside/:cluster", async (request: Request<{ cluster: string }>, response: Response) => {
    await rotation.setAside(request.params.cluster, true, parseProxy(request.body));
    await answer(response);
  });
  app.post("/v1/rotation/wait-for/:cluster", async (request: Request<{ cluster: string }>, response: Response) => {
    await rotation.setAside(request.params.cluster, false, parseProxy(request.body));
    await answer(response);
  });
  app.post("/v1/rotation/cluster-ca/:cluster", async (request: Request<{ cluster: string }>, response: Response) => {
    response.json({ cluster: await rotation.reissue(request.params.cluster) });
  });
}

function rootCalls(app: Express, { authority, audit, log }: OperatorDeps): void {
  app.post("/v1/root-chain", async (request: Request, response: Response) => {
    const { pem } = (request.body ?? {}) as Record<string, unknown>;
    const { id } = await authority.importChain(typeof pem === "string" ? pem : "");
    await audit.record({ action: "root.import", actor: "operator", subject: "root", detail: { root: id } });
    log.info("a chain for the offline root was imported", { root: id });
    response.json({ root: id });
  });
}

interface MemberCall {
  readonly cluster: string;
  readonly verb: string;
}

const membershipVerbs: readonly MembershipVerb[] = ["accept", "reject", "leave", "revoke", "reinstate"];

/** One answer holds so many entries at most; who wants more asks again after the last one. */
const auditPageEntries = 1_000;

async function auditPage({ audit, dataDir }: OperatorDeps, after: number): Promise<unknown> {
  const entries: AuditEntry[] = [];
  for await (const entry of readAudit(dataDir, Number.isInteger(after) ? after : 0)) {
    entries.push(entry);
    if (entries.length === auditPageEntries) break;
  }
  return { entries, head: audit.head() };
}

async function withdrawToken({ store, audit, clock, log }: OperatorDeps, id: string): Promise<unknown> {
  await audit.record({ action: "token.withdraw", actor: "operator", subject: id.slice(0, 64), detail: {} });
  if (!(await store.tokens.withdraw(id, clock.now()))) {
    throw new UserError("ISTHMUS_TOKEN_UNKNOWN", `no unused token ${id}`, {
      hint: "isthmus token list shows them; a member that joined with it is cut off by: isthmus revoke NAME",
    });
  }
  log.info("a join token was withdrawn", { tokenId: id });
  return { id, state: "withdrawn" };
}

interface TokenOrder {
  readonly cluster: ClusterName;
  readonly ttlMs: number;
  readonly rejoin: boolean;
  readonly mustBeAccepted: boolean;
  /** The name may be had although it rests. */
  readonly trustFormer: boolean;
}

function parseTokenOrder(body: unknown): TokenOrder {
  const { cluster, ttlMs = defaultTtlMs, ...flags } = (body ?? {}) as Record<string, unknown>;
  const name = parseClusterName(typeof cluster === "string" ? cluster : "");
  if (!name.ok) {
    const [problem] = name.error;
    throw new UserError(problem?.code ?? "ISTHMUS_CLUSTER_NAME", problem?.message ?? "no cluster name", {
      hint: "isthmus token create east",
    });
  }
  if (typeof ttlMs !== "number" || !(ttlMs >= minTtlMs && ttlMs <= maxTtlMs)) {
    throw new UserError("ISTHMUS_TOKEN_TTL", "a token lives between one second and 24 hours", { hint: "--ttl 15m" });
  }
  const isSet = (flag: string) => flags[flag] === true;
  return {
    cluster: name.value,
    ttlMs,
    rejoin: isSet("rejoin"),
    mustBeAccepted: isSet("mustBeAccepted"),
    trustFormer: isSet("trustFormer"),
  };
}

async function createToken(deps: OperatorDeps, body: unknown): Promise<unknown> {
  const { store, authority, audit, advertise, clock, log } = deps;
  const order = parseTokenOrder(body);
  const { cluster } = order;
  if (authority.isRevoked(cluster) && !deps.departures.has(cluster)) {
    throw new UserError("ISTHMUS_MEMBER_REVOKED", `${cluster} is revoked`, {
      hint: `choose another name; or, if it is to be trusted again: isthmus revoke --undo ${cluster}`,
    });
  }
  const before = await store.members.stored(cluster);
  if (before?.member.state === "accepted" && !order.rejoin) {
    throw new UserError("ISTHMUS_CLUSTER_TAKEN", `${cluster} is a member already`, {
      hint: `choose another name; or, if its Secrets were lost: isthmus token create ${cluster} --rejoin`,
    });
  }
  const restMs = restsUntilMs(deps, cluster);
  if (restMs !== undefined && !order.trustFormer) throw restingName(cluster, restMs);
  const { id, secret, expiresAtMs } = await store.tokens.create(order, clock.now());
  const { ttlMs, rejoin, mustBeAccepted } = order;
  const former = restMs === undefined ? {} : { trustFormerUntil: new Date(restMs).toISOString() };
  await audit.record({
    action: "token.create",
    actor: "operator",
    subject: id,
    detail: { cluster, ttlMs, rejoin, mustBeAccepted, ...former },
  });
  if (restMs !== undefined) await deps.departures.openTo(cluster, id);
  log.info("a join token was made", { tokenId: id, cluster, ttlMs, rejoin, mustBeAccepted });
  const { pin } = authority.server();
  return {
    id,
    cluster,
    expiresAtMs,
    token: formatJoinToken({ id, secret, cluster, hub: advertise, pin, expiresAtMs }),
  };
}

function problemBody(code: string, message: string, hint: string | undefined): unknown {
  return { error: { code, message, ...(hint === undefined ? {} : { hint }) } };
}

function answerError(error: unknown, response: Response, log: Log): void {
  if (error instanceof UserError) {
    response.status(400).json(problemBody(error.code, error.message, error.hint));
  } else if (isRedisFailure(error)) {
    const reason = causeChain(error).join(": ");
    const message = `the hub cannot reach its Redis (${reason})`;
    response.status(503).json(problemBody("ISTHMUS_REGISTRY_UNAVAILABLE", message, "see the hub's log; try again"));
  } else {
    log.error("an operator call failed unexpectedly", {}, error);
    response.status(500).json(problemBody("ISTHMUS_HUB_INTERNAL", "the hub failed", "see the hub's log"));
  }
}
