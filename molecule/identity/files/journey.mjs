// What somebody does in a browser: node journey.mjs '{"url": ..., "state": FILE, "steps": [...]}' prints what was seen after each step, as JSON.
//
// Steps: {go: ADDRESS}, {log_in: [NAME, PASSWORD]}, {ask: PATH} (as the page's own scripts do), {confirm: SELECTOR} (clicks there). Each
// may have `picture: true`, which brings a screenshot as base64. `state` keeps the cookies from one journey to the next, and `node` is the
// address that the name of the edges has now. Certificates are the business of other tests: this browser knows neither of the two
// authorities.
import fs from 'node:fs';
import { chromium } from 'playwright-core';

const wanted = JSON.parse(process.argv[2]);
const names = `--host-resolver-rules=MAP ${new URL(wanted.url).hostname} ${wanted.node}`;
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', names] });
const storageState = fs.existsSync(wanted.state) ? wanted.state : undefined;
const context = await browser.newContext({ ignoreHTTPSErrors: true, baseURL: wanted.url, storageState, viewport: { width: 1024, height: 640 } });
const page = await context.newPage();
const seen = [];
let last = null;
page.on('response', (response) => {
  if (response.request().isNavigationRequest() && response.frame() === page.mainFrame()) last = response.status();
});
// Scripts lead on to the next page: it is over when nothing has moved for a moment.
async function settle() {
  for (let before = ''; before !== page.url(); ) {
    before = page.url();
    await page.waitForLoadState('load');
    await page.waitForTimeout(1000);
  }
}
for (const step of wanted.steps) {
  let answer = null;
  if (step.go) await page.goto(step.go);
  if (step.log_in) {
    await page.fill('input[name=name]', step.log_in[0]);
    await page.fill('input[name=password]', step.log_in[1]);
    await page.click('button');
  }
  if (step.ask) {
    answer = await page.evaluate(async (path) => {
      const response = await fetch(path, { headers: { Accept: 'application/json' } });
      return { status: response.status, body: await response.text() };
    }, step.ask);
  }
  if (step.confirm) await page.click(step.confirm);
  await settle();
  const picture = step.picture ? (await page.screenshot()).toString('base64') : null;
  seen.push({ picture, url: page.url(), status: last, title: await page.title(), text: (await page.innerText('body')).slice(0, 2000), answer });
}
await context.storageState({ path: wanted.state });
await browser.close();
console.log(JSON.stringify(seen));
