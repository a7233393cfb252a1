// Paths for policy to stumble over. A server that is granted `/public/` alone must serve none of them.

/** What must not become `/admin` on its way, or pose as `/public`. */
export const pathTricks = [
  "/admin",
  "/public/../admin",
  "/public/./../admin",
  "/public/..%2fadmin",
  "/public/..%2Fadmin",
  "/public/%2e%2e/admin",
  "/public/%2e%2e%2fadmin",
  "/public%2f..%2fadmin",
  "/public/..%5cadmin",
  "/public/..\\admin",
  "/public//../../admin",
  "//admin",
  "///public/../admin",
  "/./admin",
  "/PUBLIC/a",
  "/Public/a",
  "/xpublic/a",
  "/admin/public/",
  "/admin?/public/",
  "/admin#/public/",
  "/admin;/public/",
  "/%61dmin",
  "/%2561dmin",
];
