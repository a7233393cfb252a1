// The domain of every fleet that is brought up here.
export const fleetDomain = "acme.mesh";
