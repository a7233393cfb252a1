// The operator's calls about policy: explain and try. Reads what was sent, asks the members, answers. Called by operator-api.ts.
import express, { type Express, type Request, type Response } from "express";
import { UserError } from "../../shared/errors.ts";
import type { HttpHeader } from "../../shared/grpc/question-messages.ts";
import { explain, type ExplainDeps, type ExplainOrder } from "./explain.ts";
import { maxTrialBytes, tryPolicy, type TrialOrder } from "./trial.ts";

/** Manifests are larger than other calls' bodies: this parser must come before the general one. */
export function policyBodies(app: Express): void {
  app.use("/v1/policy/try", express.json({ limit: maxTrialBytes + 64 * 1024 }));
}

export function policyRoutes(app: Express, deps: ExplainDeps): void {
  app.post("/v1/explain", async (request: Request, response: Response) => {
    response.json(await explain(deps, explainOrder(request.body)));
  });
  app.post("/v1/policy/try", async (request: Request, response: Response) => {
    response.json(await tryPolicy(deps.questions, trialOrder(request.body)));
  });
}

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : {};
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function required(text: string, what: string): string {
  if (text !== "") return text;
  throw new UserError("ISTHMUS_USAGE", `${what} is missing`, {
    hint: "isthmus explain east/shop/storefront catalog.shop",
  });
}

function explainOrder(body: unknown): ExplainOrder {
  const { from, to, method, path, headers } = fieldsOf(body);
  const [caller, target] = [fieldsOf(from), fieldsOf(to)];
  const port = target["port"];
  return {
    from: {
      member: required(textOf(caller["member"]), "the caller's member"),
      namespace: required(textOf(caller["namespace"]), "the caller's namespace"),
      serviceAccount: required(textOf(caller["serviceAccount"]), "the caller's service account"),
    },
    to: {
      namespace: required(textOf(target["namespace"]), "the service's namespace"),
      name: required(textOf(target["name"]), "the service"),
      scope: textOf(target["scope"]),
      port: typeof port === "number" && Number.isInteger(port) && port > 0 && port < 65_536 ? port : 0,
    },
    method: textOf(method) || "GET",
    path: textOf(path) || "/",
    headers: listOf(headers).map((header): HttpHeader => {
      const { name, value } = fieldsOf(header);
      return { name: textOf(name), value: textOf(value) };
    }),
  };
}

function trialOrder(body: unknown): TrialOrder {
  const { member, objectsJson, remove, permissive } = fieldsOf(body);
  return {
    member: textOf(member),
    objectsJson: listOf(objectsJson).map(textOf),
    remove: remove === true,
    permissive: textOf(permissive),
  };
}
