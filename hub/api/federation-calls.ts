// The operator's calls about other fleets. Called by operator-api.ts.
import type { Express, Request, Response } from "express";
import type { Federation } from "../federation/federation.ts";

export function federationCalls(app: Express, federation: Federation): void {
  app.get("/v1/federation", (_request: Request, response: Response) => {
    response.json(federation.overview());
  });
  app.post("/v1/federation", async (request: Request, response: Response) => {
    const { roots, ...fleet } = await federation.add(request.body);
    response.status(201).json({ ...fleet, roots: roots.length });
  });
  app.post("/v1/federation/:fleet/remove", async (request: Request<{ fleet: string }>, response: Response) => {
    const { fleet } = request.params;
    await federation.remove(fleet);
    response.json({ fleetDomain: fleet, removed: true });
  });
}
