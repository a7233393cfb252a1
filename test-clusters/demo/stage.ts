// The ground that the demo plays on: brought up step by step, and taken down whatever happened.
import type { FleetStage } from "../stage/fleet-under-test.ts";
import type { ShopPart } from "../../deploy/shop/manifests.ts";
import type { LoadPlan } from "./shop.ts";
import type { Steps } from "./steps.ts";

export const memberNames = ["east", "west", "north"] as const;

export interface DemoStage {
  /** Why it cannot be brought up on this machine. */
  whyNot(): Promise<string | undefined>;
  /** Runs the steps clusters-up, hub-up and join-NAME for every member. */
  bringUp(steps: Steps, signal: AbortSignal): Promise<FleetStage>;
  readonly shopParts: Readonly<Record<string, readonly ShopPart[]>>;
  readonly loadPlan: LoadPlan;
  /** What a person can try while the fleet stays up. */
  nextThings(): readonly string[];
  /** `down` may be called while `bringUp` or an act is under way. */
  readonly stopsAnywhere: boolean;
  /** Takes everything down; nothing is started after it. */
  down(): Promise<void>;
}
