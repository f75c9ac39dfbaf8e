// Opens a fleet page in a headless Chromium, uses it, and compares it with what is expected.
//
// node check.mjs PAGE EXPECTED [FOLDER]: EXPECTED is a file with the nodes, the agencies, and some searches with what they
// find; screenshots go into FOLDER. Prints what was measured; a line for each problem on standard error, and then exit code 1.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import chromium from '@sparticuz/chromium';
import axe from 'axe-core';
import { chromium as browsers } from 'playwright-core';

const [file, expectedFile, folder] = process.argv.slice(2);
const expected = JSON.parse(readFileSync(expectedFile, 'utf8'));
const problems = [];
const same = (what, found, wanted) => {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) problems.push(`${what}: found ${JSON.stringify(found)}, expected ${JSON.stringify(wanted)}`);
};

const browser = await browsers.launch({ executablePath: await chromium.executablePath(), args: chromium.args, headless: true });
const context = await browser.newContext({ viewport: { width: 1280, height: 1200 }, acceptDownloads: true, offline: true });
const page = await context.newPage();
const url = pathToFileURL(file).href;
page.on('console', message => { if (['error', 'warning'].includes(message.type())) problems.push(`console: ${message.text()}`); });
page.on('pageerror', error => problems.push(`error: ${error}`));
page.on('dialog', dialog => { problems.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
page.on('request', request => { if (![url, 'data:', 'blob:'].some(known => request.url().startsWith(known))) problems.push(`request: ${request.url()}`); });
await page.addInitScript(() => document.addEventListener('securitypolicyviolation', event => console.error(`policy: ${event.violatedDirective}`)));

const started = Date.now();
await page.goto(url);
await page.waitForSelector('#rows .nm, #rows .none');
const opened = Date.now() - started;

const count = () => page.textContent('#count').then(text => text.split(' of ')[0].replaceAll(',', ''));
const settled = () => page.evaluate(() => new Promise(done => requestAnimationFrame(() => setTimeout(done))));
same('nodes', +(await count()), expected.nodes);
same('rows', await page.locator('#rows .nm').count(), Math.min(expected.nodes, 200));
const agencies = () => page.locator('.ag tbody tr').evaluateAll(rows => rows.map(row => [row.querySelector('.id').textContent, ...[...row.querySelectorAll('td b')].map(b => +b.textContent.replaceAll(',', ''))]));
if (expected.agencies) same('agencies', await agencies(), expected.agencies);

// Search, filter, sort: by keyboard and mouse, and in the address.
for (const [query, wanted] of Object.entries(expected.searches)) {
  await page.fill('#q', query);
  await settled();
  same(`search ${query}`, +(await count()), wanted);
}
await page.fill('#q', '');
for (const [filter, wanted] of Object.entries(expected.filters)) {
  await page.click(`[data-f=${filter}]`);
  same(`filter ${filter}`, +(await count()), wanted);
  same(`chip ${filter}`, await page.getAttribute(`[data-f=${filter}]`, 'aria-pressed'), 'true');
}
await page.click('[data-f=all]');
const names = () => page.locator('#rows .nm').allTextContents();
await page.click('[data-k=name]');
const up = await names();
same('sorted', up, [...up].sort((a, b) => (a.toLowerCase() < b.toLowerCase() ? -1 : a.toLowerCase() > b.toLowerCase() ? 1 : 0)));
same('sort is told', await page.getAttribute('th:has([data-k=name])', 'aria-sort'), 'ascending');
await page.click('[data-k=name]');
same('address', await page.evaluate(() => location.hash), '#s=-name');
if (expected.nodes && expected.nodes <= 200) same('reversed', await names(), [...up].reverse());
const heads = page.locator('.ag thead button');
if ((await heads.count()) && (await agencies()).length > 1) {
  const before = (await agencies()).map(row => row[0]);
  await heads.first().click();
  await heads.first().click();
  same('agencies are the same in another order', (await agencies()).map(row => row[0]).sort(), before.sort());
  same('agencies are sorted', await page.locator('.ag thead th').first().getAttribute('aria-sort'), 'descending');
}

// The view comes back with its address.
await page.goto('about:blank');
const [query] = Object.keys(expected.searches);
if (query) {
  await page.goto(`${url}#q=${encodeURIComponent(query)}`);
  await page.waitForSelector('#rows .nm, #rows .none');
  same('view from the address', +(await count()), expected.searches[query]);
}
await page.goto('about:blank');
await page.goto(url);
await page.waitForSelector('#rows .nm, #rows .none');
if (expected.nodes) {
  await page.focus('#rows .open');
  await page.keyboard.press('Enter');
  same('details', await page.getAttribute('#rows .open', 'aria-expanded'), 'true');
  same('details are there', await page.locator('#rows .det').count(), 1);
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#csv')]);
  const csv = readFileSync(await download.path(), 'utf8').split('\r\n');
  same('rows of the CSV', csv.length - 1, expected.nodes);
  same('formulas in the CSV', csv.filter(line => /(^|,)"[=+\-@]/.test(line)), []);
  await page.click('#rows .open');
}

// Readable for everybody: light, dark, narrow, printed.
for (const scheme of ['light', 'dark']) {
  await page.emulateMedia({ colorScheme: scheme });
  if (expected.nodes <= 1000) {
    await page.evaluate(axe.source);
    const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
    for (const violation of found.violations) problems.push(`${scheme}: ${violation.id}: ${violation.help}: ${violation.nodes.slice(0, 3).map(node => node.html).join(' ')}`);
  }
  await page.evaluate(() => scrollTo({ top: 0, behavior: 'instant' }));
  if (folder) await page.screenshot({ path: `${folder}/fleet-${scheme}.png` });
}
await page.emulateMedia({ colorScheme: 'dark' });
await page.click('#theme');
same('theme', await page.evaluate(() => [document.getElementById('theme').textContent, getComputedStyle(document.documentElement).colorScheme]), ['Theme: light', 'light']);
await page.emulateMedia({ media: 'print', colorScheme: 'light' });
if (folder) await page.screenshot({ path: `${folder}/fleet-print.png`, fullPage: true });
same('no buttons in print', await page.locator('button:visible').count(), 0);
await page.emulateMedia({ media: 'screen' });
await page.setViewportSize({ width: 400, height: 800 });
// What is wider than a narrow screen, but for what scrolls or is cut off by itself.
same('no sideways scrolling', await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll('section *')].filter(e => e.getBoundingClientRect().right > innerWidth && !e.closest('details, nav')).map(e => e.outerHTML.slice(0, 120)).slice(0, 3)), []);
if (folder) await page.screenshot({ path: `${folder}/fleet-narrow.png`, fullPage: true });

await browser.close();
console.log(`opened in ${opened} ms, ${expected.nodes} nodes`);
for (const problem of problems) console.error(problem);
process.exit(problems.length ? 1 : 0);
