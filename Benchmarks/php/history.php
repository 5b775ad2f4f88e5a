<?php
// The same answer as GET /rooms/{id}/messages of fcgi-api, written as a careful PHP programmer would: a persistent
// connection, prepared statements, a checked token signature, one array and one json_encode.

function refuse(int $status, string $code): never
{
    http_response_code($status);
    header('Content-Type: application/json; charset=utf-8');
    echo json_encode(['Success' => false, 'Error' => ['Code' => $code]]);
    exit;
}

function decode(string $part): string
{
    return base64_decode(strtr($part, '-_', '+/'));
}

function user(string $header): string
{
    if (strncasecmp($header, 'Bearer ', 7) !== 0) {
        refuse(401, 'unauthorized');
    }
    $parts = explode('.', substr($header, 7));
    if (count($parts) !== 3 || (json_decode(decode($parts[0]), true)['alg'] ?? '') !== 'HS256') {
        refuse(401, 'unauthorized');
    }
    $signature = hash_hmac('sha256', "$parts[0].$parts[1]", $_SERVER['JWT_SECRET'], true);
    $claims = json_decode(decode($parts[1]), true);
    if (!hash_equals($signature, decode($parts[2])) || ($claims['exp'] ?? 0) <= time()) {
        refuse(401, 'unauthorized');
    }
    return $claims['sub'];
}

// Prepared once per connection, which outlives the request.
function ask($db, string $name, string $sql, array $values)
{
    $result = @pg_execute($db, $name, $values);
    if ($result === false) {
        pg_prepare($db, $name, $sql);
        $result = pg_execute($db, $name, $values);
    }
    return $result;
}

function when(?string $time): ?string
{
    return $time === null ? null : str_replace(' ', 'T', $time) . 'Z';
}

function mentions(string $text): array
{
    if (!str_contains($text, '@')) {
        return [];
    }
    preg_match_all('/@([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/i', $text, $found);
    return array_slice(array_values(array_unique(array_map('strtolower', $found[1]))), 0, 50);
}

if (!preg_match('#^/rooms/([0-9a-f-]{36})/messages$#', $_SERVER['PATH_INFO'], $match)) {
    refuse(404, 'not_found');
}
$room = $match[1];
$user = user($_SERVER['HTTP_AUTHORIZATION'] ?? '');
$limit = min(100, max(1, (int) ($_GET['limit'] ?? 50)));
$db = pg_pconnect($_SERVER['DATABASE']);

// Membership and the two furthest readers in one statement saves a round trip.
$member = pg_fetch_row(ask($db, 'member', <<<'SQL'
    SELECT p.role, (SELECT json_agg(s) FROM (
        SELECT user_id, last_seen_seq FROM members WHERE room_id = p.room_id AND left_at IS NULL AND last_seen_seq > 0
        ORDER BY last_seen_seq DESC LIMIT 2) s)
    FROM members p JOIN rooms r ON r.id = p.room_id
    WHERE p.room_id = $1 AND p.user_id = $2 AND p.left_at IS NULL AND p.banned_at IS NULL AND r.deleted_at IS NULL
    SQL, [$room, $user]));
if (!$member) {
    refuse(404, 'not_a_member');
}
$marks = $member[1] === null ? [] : json_decode($member[1], true);

$rows = ask($db, 'page', <<<'SQL'
    SELECT id, room_id, sender_id, seq, content, content_type, message_type, parent_message_id, forwarded_from, sign,
        status, file_name, file_size, file_content_type, file_thumbnail, reactions,
        to_char(edited_at, 'YYYY-MM-DD HH24:MI:SS.MS'), to_char(deleted_at, 'YYYY-MM-DD HH24:MI:SS.MS'),
        to_char(created_at, 'YYYY-MM-DD HH24:MI:SS.MS'), file_media, to_char(pinned_at, 'YYYY-MM-DD HH24:MI:SS.MS'),
        change_seq, metadata,
        (SELECT json_build_object('UserID', u.id, 'ExternalID', u.external_id, 'Name', u.name, 'Avatar', u.avatar)
            FROM users u WHERE u.id = m.sender_id AND (u.name <> '' OR u.avatar <> ''))
    FROM messages m WHERE m.room_id = $1 AND m.seq < $2 AND (m.status <> 2 OR m.sender_id = $3)
    ORDER BY m.seq DESC LIMIT $4
    SQL, [$room, $_GET['before'] ?? '9223372036854775807', $user, $limit + 1]);

$contentTypes = [1 => 'text', 'image', 'video', 'audio', 'file'];
$messageTypes = [1 => 'direct', 'replied', 'forwarded', 'system'];
$statuses = [1 => 'sent', 'uploading', 'seen', 'deleted'];
$messages = [];
while ($row = pg_fetch_row($rows)) {
    $seq = (int) $row[3];
    $status = $statuses[$row[10]];
    if ($status === 'sent') {
        foreach ($marks as $mark) {
            if ($mark['user_id'] !== $row[2]) {
                if ($mark['last_seen_seq'] >= $seq) {
                    $status = 'seen';
                }
                break;
            }
        }
    }
    $file = null;
    if ($row[11] !== null) {
        $file = ['Name' => $row[11], 'Size' => (int) $row[12], 'ContentType' => $row[13] ?? ''];
        if ($row[14] !== null) {
            $file['ThumbnailURL'] = $row[14];
        }
        if ($row[19] !== null) {
            $file += json_decode($row[19], true);
        }
    }
    $messages[] = [
        'ID' => $row[0], 'RoomID' => $row[1], 'SenderID' => $row[2],
        'Sender' => $row[23] === null ? null : json_decode($row[23]), 'Seq' => $seq, 'Content' => $row[4],
        'ContentType' => $contentTypes[$row[5]], 'MessageType' => $messageTypes[$row[6]], 'ParentMessageID' => $row[7],
        'ForwardedFrom' => $row[8], 'Sign' => $row[9], 'Status' => $status, 'File' => $file,
        'Reactions' => $row[15] === null ? [] : json_decode($row[15], true), 'EditedAt' => when($row[16]),
        'DeletedAt' => when($row[17]), 'PinnedAt' => when($row[20]), 'ChangeSeq' => (int) $row[21],
        'Mentions' => mentions($row[4]), 'CreatedAt' => when($row[18]),
    ] + ($row[22] === null ? [] : ['Metadata' => json_decode($row[22])]);
}
$next = null;
if (count($messages) > $limit) {
    array_pop($messages);
    $next = 'before=' . end($messages)['Seq'] . "&limit=$limit";
}
$body = json_encode(['Success' => true, 'Data' => $messages, 'Next' => $next], JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE);
header('Content-Type: application/json; charset=utf-8');
header('Content-Length: ' . strlen($body));
header('X-Request-ID: ' . $_SERVER['HTTP_X_REQUEST_ID']);
echo $body;
