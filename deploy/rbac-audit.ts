// What the API server's audit log says about the permissions of the charts: which were never used, and which requests of
// our accounts it refused. Pure; the end-to-end suite reads the logs of all clusters and asks here.
import { grants, type Grant, type Verb } from "./rbac-table.ts";

/** The fields used of an audit event (audit.k8s.io/v1). */
export interface AuditEvent {
  readonly verb: string;
  readonly user: { readonly username: string };
  readonly objectRef?: {
    readonly apiGroup?: string;
    readonly resource: string;
    readonly subresource?: string;
    readonly namespace?: string;
    readonly name?: string;
  };
  readonly requestURI: string;
  readonly responseStatus?: { readonly code?: number; readonly message?: string };
  /** `authorization.k8s.io/decision` is `allow` where the right was there and admission said no. */
  readonly annotations?: Readonly<Record<string, string>>;
}

const systemNamespace = "isthmus-system";
const accountPrefix = `system:serviceaccount:${systemNamespace}:`;

export function parseAuditLog(text: string): readonly AuditEvent[] {
  // the last line may be half written
  const whole = text.slice(0, text.lastIndexOf("\n") + 1);
  return whole
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as AuditEvent);
}

function code(event: AuditEvent): number {
  return event.responseStatus?.code ?? 0;
}

/** A server-side apply that makes the object is logged as `patch`, and needs the right to create as well. */
function verbsOf(event: AuditEvent): readonly string[] {
  return event.verb === "patch" && code(event) === 201 ? ["patch", "create"] : [event.verb];
}

/** As the table spells it: `serviceexports/status`. */
function resourceOf({ objectRef }: AuditEvent): string | undefined {
  if (objectRef?.subresource === undefined) return objectRef?.resource;
  return `${objectRef.resource}/${objectRef.subresource}`;
}

function isUseOf(grant: Grant, verb: Verb, event: AuditEvent): boolean {
  const { apiGroup = "", namespace, name = "" } = event.objectRef ?? {};
  const asked =
    code(event) !== 403 &&
    event.user.username === `${accountPrefix}${grant.account}` &&
    verbsOf(event).includes(verb) &&
    apiGroup === grant.group &&
    resourceOf(event) === grant.resource;
  const within = grant.scope === "cluster" || namespace === systemNamespace;
  return asked && within && (grant.names === undefined || grant.names.includes(name));
}

/** Rights that no request used, one line each; those of rare states, which the table names with a test, are left out. */
export function unusedGrants(events: readonly AuditEvent[], table: readonly Grant[] = grants): readonly string[] {
  return table.flatMap((grant) =>
    grant.verbs
      .filter((verb) => grant.rare?.verbs.includes(verb) !== true)
      .filter((verb) => !events.some((event) => isUseOf(grant, verb, event)))
      .map((verb) => `${grant.account} ${grant.scope} ${verb} ${grantedResource(grant)}`),
  );
}

function grantedResource({ group, resource, names }: Grant): string {
  const full = group === "" ? resource : `${resource}.${group}`;
  return names === undefined ? full : `${full} ${names.join(",")}`;
}

/** A 403 of admission, as for an Event in a namespace that is being deleted, is no missing right. */
function lacksRight(event: AuditEvent): boolean {
  return code(event) === 403 && event.annotations?.["authorization.k8s.io/decision"] !== "allow";
}

/** Requests of our accounts that a permission was missing for, each once. */
export function refusedRequests(events: readonly AuditEvent[]): readonly string[] {
  const refused = events.filter((event) => event.user.username.startsWith(accountPrefix) && lacksRight(event));
  const lines = refused.map(
    ({ user, verb, requestURI, responseStatus }) =>
      `${user.username.slice(accountPrefix.length)} ${verb} ${requestURI}: ${responseStatus?.message ?? "403"}`,
  );
  return [...new Set(lines)];
}
