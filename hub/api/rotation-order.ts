// What an operator asks for with `isthmus rotate root`, read from the body of the call.
import { UserError } from "../../shared/errors.ts";
import { rootKinds, type RootKind } from "../ca/fleet-file.ts";
import { steps, type Step } from "../rotation/rotation.ts";
import type { RotationOrder } from "./rotation.ts";

export function parseRotationOrder(body: unknown): RotationOrder {
  const { to = "self", emergency } = (body ?? {}) as Record<string, unknown>;
  const kind = rootKinds.find((name): name is RootKind => name === to);
  if (kind !== undefined) return { to: kind, emergency: emergency === true, holdAt: parseHold(body) };
  throw new UserError("ISTHMUS_ROOT_KIND", `no such kind of root: ${JSON.stringify(to)}`, {
    hint: `--to ${rootKinds.join(", --to ")}`,
  });
}

/** `proxy` of the body: as `isthmus trust` names it. Undefined: the member is meant. */
export function parseProxy(body: unknown): string | undefined {
  const { proxy } = (body ?? {}) as Record<string, unknown>;
  if (proxy === undefined) return undefined;
  if (typeof proxy === "string" && /^[\w.~/-]{1,300}$/.test(proxy)) return proxy;
  throw new UserError("ISTHMUS_PROXY_NAME", `no proxy has the name ${JSON.stringify(proxy).slice(0, 80)}`, {
    hint: "isthmus trust names those that hold the rotation up",
  });
}

/** `hold` of the body: the step that shall not be left. */
export function parseHold(body: unknown): Step | undefined {
  const { hold } = (body ?? {}) as Record<string, unknown>;
  if (hold === undefined) return undefined;
  const step = steps.find((name) => name === hold);
  if (step !== undefined) return step;
  throw new UserError("ISTHMUS_ROTATION_STEP", `no such step: ${JSON.stringify(hold)}`, {
    hint: `one of ${steps.join(", ")}`,
  });
}
