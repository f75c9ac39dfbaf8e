'use strict';
(async () => {
 const $ = id => document.getElementById(id);
 // The nodes are compressed, because a page may hold 100,000 of them. Nothing is loaded from anywhere.
 const unpack = async text => {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let at = 0; at < raw.length; at++) bytes[at] = raw.charCodeAt(at);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).json();
 };

 // The agencies are in the page as they are; their rows are only put in another order.
 for (const table of document.querySelectorAll('.sortable')) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
   const button = document.createElement('button');
   button.type = 'button'; button.textContent = head.textContent;
   head.dataset.h = head.textContent; head.replaceChildren(button);
   button.onclick = () => {
    const up = head.getAttribute('aria-sort') !== 'ascending';
    const key = row => { const v = row.cells[column].dataset.v ?? ''; return v === '' || isNaN(v) ? v.toLowerCase() : +v; };
    const order = (x, y) => (key(x) < key(y) ? -1 : key(x) > key(y) ? 1 : 0) * (up ? 1 : -1);
    heads.forEach(other => other.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    body.append(...[...body.rows].sort(order));
   };
  });
 }

 const themes = ['auto', 'light', 'dark']; let theme = 0;
 $('theme').onclick = () => {
  theme = (theme + 1) % themes.length;
  $('theme').textContent = 'Theme: ' + themes[theme];
  document.documentElement.style.colorScheme = theme ? themes[theme] : '';
 };
 const hours = (Date.now() - Date.parse($('generated').dateTime)) / 36e5;
 if (hours > 36) { $('age').textContent = Math.round(hours / 24) + ' days old'; $('age').className = 'old'; }

 let D;
 try {
  D = await unpack($('data').textContent.trim());
 } catch {
  $('rows').rows[0].cells[0].textContent = 'This browser cannot unpack the nodes. fleet.csv has the same rows.';
  return;
 }
 // Kind, word, and whether it needs a look. The order is that of crates/fleet/src/data.rs.
 const PING = [['good', 'Online'], ['warn', 'Offline', 1], ['warn', 'Inactive', 1]];
 const TAGS = [['good', 'In step'], ['warn', 'Left behind', 1], ['bad', 'Conflict', 1], ['warn', 'Unlinked', 1], ['idle', 'Registered again', 1],
  ['idle', 'Instance gone'], ['bad', 'Refused', 1], ['bad', 'Failed', 1], ['idle', 'Deferred'], ['idle', 'No owner'], ['warn', 'No report', 1], ['idle', 'Not read']];
 const PATCH = [['good', 'None missing'], ['idle', 'No scan'], ['warn', 'Reboot pending', 1], ['warn', 'missing', 1], ['bad', 'failed', 1]];
 const COUNT = D.name.length, ALL = Uint32Array.from({length: COUNT}, (_, i) => i);
 const tagStart = new Uint32Array(COUNT + 1);
 for (let i = 0; i < COUNT; i++) tagStart[i + 1] = tagStart[i] + D.tagCount[i];

 const id = (column, i, prefix) => { const text = D[column].slice(i * 17, i * 17 + 17).trim(); return text && prefix + text; };
 const node = i => id('node', i, 'mi-'), instance = i => id('instance', i, 'i-');
 const label = i => D.name[i] || node(i);
 const agency = i => D.agencies[D.agency[i]] ?? ['', ''];
 const region = i => D.regions[D.region[i]] ?? '', platform = i => D.platforms[D.platform[i]] ?? '', agent = i => D.agents[D.agent[i]] ?? '';
 const pinged = i => PING[D.ping[i]], tagged = i => TAGS[D.tagging[i]], patched = i => PATCH[D.patching[i]];
 const patchWord = i => D.patching[i] === 3 ? D.missing[i] + ' missing' : D.patching[i] === 4 ? D.failed[i] + ' failed' : patched(i)[1];
 const reasons = i => (D.reasons[D.reason[i]] ?? '').split(',').filter(Boolean).join(', ');
 const tags = i => D.tag.slice(tagStart[i], tagStart[i + 1]).map(t => D.tags[t]);
 const owned = i => D.agency[i] >= 0;
 const time = minutes => minutes ? new Date(minutes * 6e4).toISOString().slice(0, 16).replace('T', ' ') + ' UTC' : 'never';
 const number = n => n.toLocaleString('en-US');

 // What a search looks at. It is put together when somebody searches.
 const texts = new Array(COUNT);
 const text = i => texts[i] ??= [D.name[i], node(i), instance(i), ...agency(i), region(i), platform(i), agent(i), pinged(i)[1], tagged(i)[1],
  patchWord(i), reasons(i), ...tags(i)].join('\n').toLowerCase();
 const FILTERS = [['all', 'All', () => true], ['look', 'Needs a look', i => owned(i) && !!(pinged(i)[2] || tagged(i)[2] || patched(i)[2])],
  ['off', 'Offline', i => D.ping[i] > 0], ['tags', 'Not in step', i => D.tagging[i] > 0], ['patch', 'Not patched', i => D.patching[i] > 0]];
 const RANK = {good: 0, idle: 1, warn: 2, bad: 3};
 const COLUMNS = [['name', 'Node', i => label(i).toLowerCase()], ['agency', 'Agency', i => agency(i)[0].toLowerCase()], ['pl', 'Platform', i => platform(i).toLowerCase()],
  ['ping', 'Connection', i => -RANK[pinged(i)[0]]], ['tags', 'Tags', i => -RANK[tagged(i)[0]] * 1e3 - D.left[i]],
  ['patch', 'Patches', i => -RANK[patched(i)[0]] * 1e6 - D.missing[i] - D.failed[i]], ['look', '', i => i]];
 const PAGE = 200;
 let query = '', filter = 'all', sort = 'look', direction = 1, shown = PAGE, view = [];

 // Text goes into the page as text nodes only: agencies write it.
 const el = (tag, attributes, ...children) => {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value != null) e.setAttribute(name, value);
  e.append(...children.filter(child => child != null));
  return e;
 };
 const NS = 'http://www.w3.org/2000/svg';
 const pill = (kind, word) => {
  const svg = document.createElementNS(NS, 'svg'), use = document.createElementNS(NS, 'use');
  svg.setAttribute('class', 'i'); svg.setAttribute('aria-hidden', 'true'); use.setAttribute('href', '#' + kind); svg.append(use);
  return el('span', {class: 's ' + kind}, svg, word);
 };
 const cell = (kind, ...children) => el('td', {class: kind, role: 'cell'}, ...children);
 const sub = words => el('span', {class: 'sub'}, words);

 function detail(i) {
  const list = items => el('ul', {}, ...items);
  const item = (...words) => el('li', {}, ...words);
  const warning = words => el('li', {class: 'lb'}, words);
  const own = tags(i).map(tag => item(el('code', {}, tag)));
  if (D.left[i]) own.push(warning(number(D.left[i]) + ' left behind: ' + reasons(i)));
  if (!own.length) own.push(item('none'));
  const source = instance(i) ? [agency(i)[1], region(i), instance(i)].join('/') : 'no instance is known';
  const look = tagged(i)[2] && D.tagging[i] > 1 ? 'taghub doctor --node ' : 'taghub explain ';
  const scan = ['Patch scan: ' + time(D.scanned[i])];
  return el('tr', {class: 'x', role: 'row'}, el('td', {colspan: 7, role: 'cell'}, el('div', {class: 'det'},
   el('div', {}, el('h3', {}, 'Tags on the node'), list(own)),
   el('div', {}, el('h3', {}, 'Identity'), list([item(el('code', {}, node(i))), item(el('code', {}, source)), item('SSM Agent ' + agent(i))]), el('kbd', {}, look + node(i))),
   el('div', {}, el('h3', {}, 'Last seen'), list([item('Agent: ' + time(D.pinged[i])), item('Tags changed: ' + time(D.changed[i])), item(...scan),
    ...(D.critical[i] ? [warning(number(D.critical[i]) + ' critical missing')] : [])])))));
 }

 function row(i) {
  const words = word => [word, el('span', {class: 'vh'}, ' of ' + label(i))];
  const button = el('button', {type: 'button', class: 'open', 'aria-expanded': 'false'}, ...words('Details'));
  const tr = el('tr', {role: 'row'},
   el('th', {scope: 'row', role: 'rowheader', class: 'c1'}, el('span', {class: 'nm'}, label(i)), el('span', {class: 'id'}, node(i))),
   cell('c2', agency(i)[0] || '–', agency(i)[0] === agency(i)[1] ? null : sub(agency(i)[1])), cell('c3', platform(i), sub(region(i))),
   cell('st', pill(pinged(i)[0], pinged(i)[1])), cell('st', pill(tagged(i)[0], tagged(i)[1]), D.left[i] ? sub(number(D.left[i]) + ' left behind') : null),
   cell('st', pill(patched(i)[0], patchWord(i)), D.critical[i] ? sub(number(D.critical[i]) + ' critical') : null), cell('', button));
  button.onclick = () => {
   const open = button.getAttribute('aria-expanded') === 'true';
   open ? tr.nextSibling.remove() : tr.after(detail(i));
   button.setAttribute('aria-expanded', String(!open)); button.replaceChildren(...words(open ? 'Details' : 'Close'));
  };
  return tr;
 }

 function heads() {
  $('heads').replaceChildren(...COLUMNS.map(([key, word]) => {
   if (!word) return el('th', {scope: 'col', role: 'columnheader'}, el('span', {class: 'vh'}, 'Details'));
   const button = el('button', {type: 'button', 'data-k': key}, word);
   button.onclick = () => { sort === key ? direction = -direction : (sort = key, direction = 1); update(); $('heads').querySelector('[data-k=' + key + ']').focus(); };
   return el('th', {scope: 'col', role: 'columnheader', 'data-h': word, 'aria-sort': sort === key ? (direction > 0 ? 'ascending' : 'descending') : null}, button);
  }));
 }

 function update(keep) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const hits = words.length ? ALL.filter(i => words.every(word => text(i).includes(word))) : ALL;
  const counts = Object.fromEntries(FILTERS.map(([key]) => [key, 0]));
  for (const i of hits) for (const [key, , test] of FILTERS) if (test(i)) counts[key]++;
  $('chips').replaceChildren(...FILTERS.map(([key, word]) => {
   const button = el('button', {type: 'button', 'aria-pressed': String(filter === key), 'data-f': key}, word, el('b', {}, number(counts[key])));
   button.onclick = () => { filter = key; shown = PAGE; update(); $('chips').querySelector('[data-f=' + key + ']').focus(); };
   return button;
  }));
  view = hits.filter(FILTERS.find(f => f[0] === filter)[2]);
  // As they came, those that need a look are first.
  if (sort !== 'look' || direction < 0) {
   const by = COLUMNS.find(column => column[0] === sort)[2], keys = new Array(COUNT);
   for (const i of view) keys[i] = by(i);
   view.sort((a, b) => direction * (keys[a] < keys[b] ? -1 : keys[a] > keys[b] ? 1 : 0) || a - b);
  }
  heads();
  $('rows').replaceChildren(...(view.length ? Array.from(view.subarray(0, shown), row)
   : [el('tr', {role: 'row'}, el('td', {colspan: 7, class: 'none', role: 'cell'}, 'No node matches. Every word has to be in its name, ids, agency, states or tags.'))]));
  $('more').hidden = view.length <= shown;
  const word = COLUMNS.find(column => column[0] === sort)[1];
  $('count').textContent = number(view.length) + ' of ' + number(COUNT) + ' nodes, ' + (word ? 'by ' + word.toLowerCase() + (direction > 0 ? '' : ', reversed') : 'those that need a look first');
  if (!keep) {
   const p = new URLSearchParams();
   if (query) p.set('q', query);
   if (filter !== 'all') p.set('f', filter);
   if (sort !== 'look') p.set('s', (direction < 0 ? '-' : '') + sort);
   history.replaceState(null, '', '#' + (String(p) || 'nodes'));
  }
 }

 // The address holds the view, so that it can be kept and sent: #q=Parks&f=patch
 function read() {
  const hash = location.hash.slice(1);
  if (!hash.includes('=')) return false;
  const p = new URLSearchParams(hash), s = p.get('s') || 'look';
  query = p.get('q') || '';
  filter = FILTERS.some(f => f[0] === p.get('f')) ? p.get('f') : 'all';
  direction = s[0] === '-' ? -1 : 1;
  sort = COLUMNS.some(column => column[0] === s.replace('-', '')) ? s.replace('-', '') : 'look';
  $('q').value = query; shown = PAGE;
  return true;
 }
 $('q').oninput = () => { query = $('q').value; shown = PAGE; update(); };
 $('q').form.onsubmit = event => event.preventDefault();
 $('more').onclick = () => { shown += PAGE; update(true); };
 addEventListener('hashchange', () => { if (read()) { update(true); $('nodes').scrollIntoView(); $('nodes').focus({preventScroll: true}); } });

 $('csv').onclick = () => {
  // A cell that begins like a formula gets an apostrophe: agencies write names and tags.
  const quoted = value => '"' + String(value).replace(/^[=+\-@\t\r]/, "'$&").replace(/"/g, '""') + '"';
  const lines = [['node', 'name', 'agency', 'account', 'region', 'instance', 'platform', 'agent', 'connection', 'tags', 'patches', 'critical', 'lastScan']];
  for (const i of view) lines.push([node(i), D.name[i], ...agency(i), region(i), instance(i), platform(i), agent(i), pinged(i)[1], tagged(i)[1], patchWord(i), D.critical[i], time(D.scanned[i])]);
  const a = el('a', {href: URL.createObjectURL(new Blob([lines.map(line => line.map(quoted).join(',')).join('\r\n')], {type: 'text/csv'})), download: 'nodes.csv'});
  a.click(); URL.revokeObjectURL(a.href);
 };
 $('tools').hidden = false;
 read(); update(true);
})();
