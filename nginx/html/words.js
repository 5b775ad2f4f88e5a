// The words of the page, in its languages.
export const WORDS = {
  en: {
    title: 'Chat backend', intro: 'Two people, two clients, one server. Write, reload the relay, kill it: nobody misses a frame.', rooms: 'Rooms', newRoom: 'New room', roomName: 'Name of the new room',
    say: 'Message', send: 'Send', file: 'Send files', drop: 'Drop files here', pause: 'Pause', go: 'Continue', cancel: 'Cancel', edit: 'Edit', remove: 'Delete', like: 'Like', reply: 'Reply', readBy: 'Read by',
    nobody: 'nobody yet', find: 'Search', hits: 'Hits', noHits: 'Nothing found', close: 'Close', older: 'Older messages', loading: 'Loading older messages', begins: 'The room begins here', types: '{name} is writing …',
    waits: 'waiting', refused: 'not sent', retry: 'Send again', unread: 'unread', edited: 'edited', deleted: 'This message was deleted', seen: 'seen', online: 'online', offline: 'offline', replying: 'Reply to: {text}', editing: 'Change: {text}', save: 'Save',
    chunks: '{done} of {total} chunks', chunk: 'chunk {number}', empty: 'Nothing said yet', messages: 'Messages of {name}', today: 'Today',
    states: { open: 'connected', connecting: 'connecting', waiting: 'no connection', closed: 'closed', replaced: 'open elsewhere' },
    counters: 'frames {frames} · missed {missed} · doubled {doubled} · connections {connects}',
    trial: 'Try to break it', faults: { 'reload-relay': 'Reload the relay', 'kill-relay': 'Kill the relay', 'reload-worker': 'Reload the queue worker', 'kill-worker': 'Kill the queue worker' }, write: 'Let both write',
    stop: 'Stop writing', total: 'Frames missed: {missed} · doubled: {doubled}', happened: 'What happened', answered: '{fault}: both were answered after {time} ms, {lost} connections lost', failed: '{fault}: {error}',
    drawn: 'The last minute: frames, connections and faults', notify: 'Notifications', notifyDenied: 'Notifications are blocked in this browser', linkDocs: 'Documentation', linkPlain: 'Without JavaScript', language: 'Language',
  },
  de: {
    title: 'Chat-Backend', intro: 'Zwei Personen, zwei Clients, ein Server. Schreiben, das Relay neu laden, es abschießen: Niemandem fehlt ein Frame.', rooms: 'Räume', newRoom: 'Neuer Raum', roomName: 'Name des neuen Raums',
    say: 'Nachricht', send: 'Senden', file: 'Dateien senden', drop: 'Dateien hier ablegen', pause: 'Pause', go: 'Weiter', cancel: 'Abbrechen', edit: 'Ändern', remove: 'Löschen', like: 'Gefällt mir', reply: 'Antworten', readBy: 'Gelesen von',
    nobody: 'noch niemand', find: 'Suchen', hits: 'Treffer', noHits: 'Nichts gefunden', close: 'Schließen', older: 'Ältere Nachrichten', loading: 'Ältere Nachrichten werden geladen', begins: 'Hier beginnt der Raum', types: '{name} schreibt …',
    waits: 'wartet', refused: 'nicht gesendet', retry: 'Noch einmal senden', unread: 'ungelesen', edited: 'geändert', deleted: 'Diese Nachricht wurde gelöscht', seen: 'gesehen', online: 'online', offline: 'offline', replying: 'Antwort auf: {text}', editing: 'Ändern: {text}', save: 'Speichern',
    chunks: '{done} von {total} Teilen', chunk: 'Teil {number}', empty: 'Noch nichts gesagt', messages: 'Nachrichten von {name}', today: 'Heute',
    states: { open: 'verbunden', connecting: 'verbinde', waiting: 'keine Verbindung', closed: 'getrennt', replaced: 'anderswo geöffnet' },
    counters: 'Frames {frames} · verpasst {missed} · doppelt {doubled} · Verbindungen {connects}',
    trial: 'Zum Kaputtmachen', faults: { 'reload-relay': 'Relay neu laden', 'kill-relay': 'Relay abschießen', 'reload-worker': 'Queue-Worker neu laden', 'kill-worker': 'Queue-Worker abschießen' }, write: 'Beide schreiben lassen',
    stop: 'Nicht mehr schreiben', total: 'Frames verpasst: {missed} · doppelt: {doubled}', happened: 'Was geschah', answered: '{fault}: Beide bekamen nach {time} ms Antwort, {lost} Verbindungen verloren', failed: '{fault}: {error}',
    drawn: 'Die letzte Minute: Frames, Verbindungen und Störungen', notify: 'Benachrichtigungen', notifyDenied: 'Benachrichtigungen sind in diesem Browser gesperrt', linkDocs: 'Dokumentation', linkPlain: 'Ohne JavaScript', language: 'Sprache',
  },
  ar: {
    title: 'خادم المحادثة', intro: 'شخصان وعميلان وخادم واحد. اكتب، أعد تحميل المُرحِّل، أوقفه قسرًا: لا يفوت أحدًا أي إطار.', rooms: 'الغرف', newRoom: 'غرفة جديدة', roomName: 'اسم الغرفة الجديدة',
    say: 'رسالة', send: 'إرسال', file: 'إرسال ملفات', drop: 'أفلت الملفات هنا', pause: 'إيقاف مؤقت', go: 'متابعة', cancel: 'إلغاء', edit: 'تعديل', remove: 'حذف', like: 'إعجاب', reply: 'رد', readBy: 'قرأها',
    nobody: 'لا أحد بعد', find: 'بحث', hits: 'النتائج', noHits: 'لا نتائج', close: 'إغلاق', older: 'رسائل أقدم', loading: 'جارٍ تحميل رسائل أقدم', begins: 'هنا تبدأ الغرفة', types: '{name} يكتب …',
    waits: 'قيد الانتظار', refused: 'لم تُرسل', retry: 'إعادة الإرسال', unread: 'غير مقروءة', edited: 'معدلة', deleted: 'حُذفت هذه الرسالة', seen: 'شوهدت', online: 'متصل', offline: 'غير متصل', replying: 'رد على: {text}', editing: 'تعديل: {text}', save: 'حفظ',
    chunks: '{done} من {total} أجزاء', chunk: 'الجزء {number}', empty: 'لا رسائل بعد', messages: 'رسائل {name}', today: 'اليوم',
    states: { open: 'متصل', connecting: 'جارٍ الاتصال', waiting: 'لا يوجد اتصال', closed: 'مغلق', replaced: 'مفتوح في مكان آخر' },
    counters: 'إطارات {frames} · فائتة {missed} · مكررة {doubled} · اتصالات {connects}',
    trial: 'حاول تعطيله', faults: { 'reload-relay': 'إعادة تحميل المُرحِّل', 'kill-relay': 'إيقاف المُرحِّل قسرًا', 'reload-worker': 'إعادة تحميل عامل الطابور', 'kill-worker': 'إيقاف عامل الطابور قسرًا' }, write: 'دع الاثنين يكتبان',
    stop: 'أوقف الكتابة', total: 'إطارات فائتة: {missed} · مكررة: {doubled}', happened: 'ما حدث', answered: '{fault}: تلقى الاثنان جوابًا بعد {time} مللي ثانية، وانقطع {lost} من الاتصالات', failed: '{fault}: {error}',
    drawn: 'الدقيقة الأخيرة: الإطارات والاتصالات والأعطال', notify: 'الإشعارات', notifyDenied: 'الإشعارات محظورة في هذا المتصفح', linkDocs: 'التوثيق', linkPlain: 'من دون JavaScript', language: 'اللغة',
  },
};
const wanted = [new URLSearchParams(location.search).get('lang'), ...navigator.languages.map(name => name.slice(0, 2))];
export const language = wanted.find(name => Object.hasOwn(WORDS, name ?? '')) ?? 'en';
export const words = WORDS[language];
export const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
