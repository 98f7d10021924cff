// An identity provider for tests: oidc-provider, a certified implementation, with users and clients of a test, in memory, on TLS.
//
//   node provider.mjs SETTINGS.json
//
// Settings: library (oidc-provider's file), issuer, address, port, key, certificate, users ({name: {password, claims}}), clients (as oidc-provider
// takes them; `machine` of one holds the claims of its own tokens), audience (of access tokens), seconds (they live), returns (addresses after
// a logout), keys (a file with signing keys, which is made if it is not there), refresh_seconds (a login can be renewed; an hour), behind (seconds
// by which its clock is late). Claims are in ID tokens as in access tokens, as Keycloak and Entra ID do it.
import crypto from 'node:crypto';
import fs from 'node:fs';
import https from 'node:https';

const settings = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const { Provider } = await import(settings.library);
const { users } = settings;
const scope = 'openid profile email groups offline_access';

if (!fs.existsSync(settings.keys)) {
  const key = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
  fs.writeFileSync(settings.keys, JSON.stringify({ keys: [{ ...key, use: 'sig', alg: 'RS256', kid: 'of a test' }] }), { mode: 0o600 });
}

const provider = new Provider(settings.issuer, {
  clients: settings.clients,
  extraClientMetadata: { properties: ['machine'] },
  scopes: scope.split(' '),
  claims: { openid: ['sub'], profile: ['name', 'preferred_username'], email: ['email', 'email_verified'], groups: ['groups'] },
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  findAccount: (_context, name) => users[name] && { accountId: name, claims: () => ({ sub: name, ...users[name].claims }) },
  extraTokenClaims: (_context, token) => (token.kind === 'ClientCredentials' ? token.client.machine : users[token.accountId].claims),
  ttl: { AccessToken: settings.seconds, ClientCredentials: settings.seconds, IdToken: settings.seconds, RefreshToken: settings.refresh_seconds ?? 3600, DeviceCode: 600, Session: 3600, Grant: 3600, Interaction: 600 },
  cookies: { keys: ['of a test'] },
  jwks: JSON.parse(fs.readFileSync(settings.keys, 'utf8')),
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    revocation: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    resourceIndicators: {
      enabled: true,
      // Tokens of people are for the provider's own UserInfo, as long as nobody asks for others.
      defaultResource: (_context, client) => (client.machine ? settings.audience : undefined),
      useGrantedResource: () => true,
      getResourceServerInfo: (_context, audience) => ({ scope, audience, accessTokenFormat: 'jwt', accessTokenTTL: settings.seconds, jwt: { sign: { alg: 'RS256' } } }),
    },
  },
  // Clients of our own: nobody is asked whether they may.
  loadExistingGrant: async (context) => {
    const grant = new provider.Grant({ clientId: context.oidc.client.clientId, accountId: context.oidc.session.accountId });
    grant.addOIDCScope(scope);
    grant.addResourceScope(settings.audience, scope);
    await grant.save();
    return grant;
  },
  interactions: { url: (_context, interaction) => `/login/${interaction.uid}` },
});
for (const event of ['server_error', 'authorization.error', 'grant.error']) {
  provider.on(event, (_context, error) => console.error(event, error.error, error.error_description, error.error_detail ?? ''));
}

function form(uid, said = '') {
  return `<!doctype html><title>The company's login</title><form method="post" action="/login/${uid}"><p id="said">${said}</p>
<label>Name <input name="name" autofocus></label> <label>Password <input name="password" type="password"></label> <button>Log in</button></form>`;
}

async function login(request, response, uid) {
  await provider.interactionDetails(request, response);
  response.setHeader('content-type', 'text/html; charset=utf-8');
  if (request.method === 'GET') return response.end(form(uid));
  let body = '';
  for await (const part of request) body += part;
  const given = new URLSearchParams(body);
  const name = given.get('name');
  if (!users[name] || users[name].password !== given.get('password')) {
    response.statusCode = 401;
    return response.end(form(uid, 'Name or password is wrong.'));
  }
  return provider.interactionFinished(request, response, { login: { accountId: name } }, { mergeWithLastSubmission: false });
}

const answer = provider.callback();
https.createServer({ key: fs.readFileSync(settings.key), cert: fs.readFileSync(settings.certificate) }, async (request, response) => {
  if (settings.behind) response.setHeader('date', new Date(Date.now() - settings.behind * 1000).toUTCString());
  const interaction = /^\/login\/([\w-]+)$/.exec(request.url);
  if (!interaction) return answer(request, response);
  return login(request, response, interaction[1]).catch((error) => {
    response.statusCode = 400;
    response.end(error.message);
  });
}).listen(settings.port, settings.address, () => console.log('ready'));
