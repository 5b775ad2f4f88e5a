<?php

declare(strict_types=1);

namespace Chat;

/**
 * The REST API, as one user or as the host application.
 *
 *     $chat = Client::forUser('http://127.0.0.1:8000', $tokens->issue('42'));
 *     $room = $chat->post('/rooms', ['Type' => 'GROUP', 'Name' => 'us', 'Members' => ['43']]);
 */
final class Client
{
    /** Statuses after which the same request may be sent again: nothing of it was carried out, or it is known by its key. */
    private const AGAIN = [0, 429, 502, 503, 504];

    private ?\CurlHandle $curl = null;

    private function __construct(
        private readonly string $base,
        #[\SensitiveParameter] private readonly string $bearer,
        private readonly float $timeout,
        private readonly int $attempts,
        private readonly ?string $caFile,
    ) {
    }

    /**
     * Calls the API as the user of this token.
     *
     * @param string      $url      where the service is, with its prefix, such as `https://example.com/chat`
     * @param float       $timeout  seconds for one try
     * @param int         $attempts tries of a request that may be repeated
     * @param string|null $caFile   certificates to trust beside the system's
     */
    public static function forUser(
        string $url,
        #[\SensitiveParameter] string $token,
        float $timeout = 10,
        int $attempts = 3,
        ?string $caFile = null,
    ): self {
        return new self(rtrim($url, '/') . '/api/v1', $token, $timeout, max(1, $attempts), $caFile);
    }

    /** Calls the host's own API (`/admin/…`) with ADMIN_API_KEY. */
    public static function forHost(
        string $url,
        #[\SensitiveParameter] string $key,
        float $timeout = 10,
        int $attempts = 3,
        ?string $caFile = null,
    ): self {
        return new self(rtrim($url, '/') . '/api/v1', $key, $timeout, max(1, $attempts), $caFile);
    }

    /**
     * The `Data` of the answer.
     *
     * @param array<string, scalar|null> $query
     * @throws ChatException
     */
    public function get(string $path, array $query = []): mixed
    {
        return $this->request('GET', $path, null, $query)['Data'];
    }

    /**
     * Every element of a list, page after page, in the order of the service.
     *
     * @param array<string, scalar|null> $query
     * @param string $cursor the parameter that takes `Next`: `cursor` for rooms and search, `before` for history
     * @throws ChatException
     */
    public function each(string $path, array $query = [], string $cursor = 'cursor'): \Generator
    {
        do {
            $page = $this->request('GET', $path, null, $query);
            yield from $page['Data'];
            $next = $page['Next'] ?? null;
            $query[$cursor] = $next;
        } while ($next !== null);
    }

    /**
     * Sends a body and gives the `Data` of the answer. A repeated try carries the same Idempotency-Key, so it happens once.
     *
     * @param array<string, mixed> $body
     * @throws ChatException
     */
    public function post(string $path, array $body = [], ?string $idempotencyKey = null): mixed
    {
        $key = $idempotencyKey ?? $body['Sign'] ?? bin2hex(random_bytes(16));
        return $this->request('POST', $path, $body, [], ["Idempotency-Key: $key"])['Data'] ?? null;
    }

    /** @param array<string, mixed> $body */
    public function patch(string $path, array $body): mixed
    {
        return $this->request('PATCH', $path, $body)['Data'] ?? null;
    }

    /** @param array<string, mixed>|null $body */
    public function put(string $path, ?array $body = null): mixed
    {
        return $this->request('PUT', $path, $body)['Data'] ?? null;
    }

    public function delete(string $path): mixed
    {
        return $this->request('DELETE', $path)['Data'] ?? null;
    }

    /**
     * A ticket for one WebSocket of this user, good once and for a few seconds: the page opens `/ws/v1/chat?ticket=…`
     * and no token is ever in a URL.
     *
     * @return array{Ticket: string, ExpiresIn: int}
     */
    public function ticket(): array
    {
        return $this->post('/ws-ticket');
    }

    /**
     * Sends a whole file into a room, as a plain HTML form does.
     *
     * @return array<string, mixed> the message
     */
    public function sendFile(string $room, string $file, ?string $name = null, ?string $type = null): array
    {
        if (!is_readable($file)) {
            throw new \InvalidArgumentException("the file $file cannot be read");
        }
        $part = new \CURLFile($file, $type ?? mime_content_type($file) ?: 'application/octet-stream', $name ?? basename($file));
        // The Sign comes first: a retry of the same form is known before its file is read.
        $form = ['Sign' => bin2hex(random_bytes(16)), 'File' => $part];
        return $this->request('POST', '/rooms/' . rawurlencode($room) . '/files', $form)['Data'];
    }

    /**
     * The whole answer: `Success`, `Data`, and `Next` of lists.
     *
     * @param array<string, mixed>|null  $body    an object, or a form if it contains a \CURLFile
     * @param array<string, scalar|null> $query   null values are left out
     * @param list<string>               $headers
     * @return array<string, mixed>
     * @throws ChatException
     */
    public function request(string $method, string $path, ?array $body = null, array $query = [], array $headers = []): array
    {
        $url = $this->base . $path;
        if ($query = array_filter($query, static fn ($value) => $value !== null)) {
            $url .= '?' . http_build_query($query, '', '&', PHP_QUERY_RFC3986);
        }
        for ($attempt = 1; ; $attempt++) {
            try {
                return $this->once($method, $url, $body, $headers);
            } catch (ChatException $failure) {
                if ($attempt >= $this->attempts || !in_array($failure->status, self::AGAIN, true)) {
                    throw $failure;
                }
                // Waits as long as the service asks, else with a growing pause; the random part spreads many workers.
                $wait = $failure->retryAfterMs ?? 200 * 2 ** $attempt;
                usleep((int) (min($wait, 30_000) * 1000 * (1 + mt_rand() / mt_getrandmax() / 4)));
            }
        }
    }

    /**
     * @param array<string, mixed>|null $body
     * @param list<string>              $headers
     * @return array<string, mixed>
     */
    private function once(string $method, string $url, ?array $body, array $headers): array
    {
        // One handle for all requests: its connection is used again.
        $this->curl ??= curl_init();
        $retryAfter = null;
        $requestId = '';
        $headers[] = "Authorization: Bearer {$this->bearer}";
        $headers[] = 'Accept: application/json';
        $options = [
            CURLOPT_URL => $url,
            CURLOPT_CUSTOMREQUEST => $method,
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_FOLLOWLOCATION => false,
            CURLOPT_PROTOCOLS => CURLPROTO_HTTP | CURLPROTO_HTTPS,
            CURLOPT_CONNECTTIMEOUT_MS => 5000,
            CURLOPT_TIMEOUT_MS => (int) ($this->timeout * 1000),
            CURLOPT_HEADERFUNCTION => static function ($curl, string $line) use (&$retryAfter, &$requestId): int {
                if (preg_match('/^retry-after:\s*(\d+)/i', $line, $found)) {
                    $retryAfter = (int) $found[1] * 1000;
                } elseif (preg_match('/^x-request-id:\s*(\S+)/i', $line, $found)) {
                    $requestId = $found[1];
                }
                return strlen($line);
            },
        ];
        if ($this->caFile !== null) {
            $options[CURLOPT_CAINFO] = $this->caFile;
        }
        if ($body !== null && self::isForm($body)) {
            $options[CURLOPT_POSTFIELDS] = $body;
        } elseif ($body !== null) {
            $flags = JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE;
            $options[CURLOPT_POSTFIELDS] = json_encode((object) $body, $flags);
            $headers[] = 'Content-Type: application/json';
        }
        $options[CURLOPT_HTTPHEADER] = $headers;
        curl_reset($this->curl);
        curl_setopt_array($this->curl, $options);
        $text = curl_exec($this->curl);
        if ($text === false) {
            throw new ChatException('the chat service does not answer: ' . curl_error($this->curl), 0, 'unreachable');
        }
        $status = curl_getinfo($this->curl, CURLINFO_RESPONSE_CODE);
        $answer = $text === '' ? [] : json_decode($text, true);
        if ($status >= 200 && $status < 300 && is_array($answer)) {
            return $answer;
        }
        $error = is_array($answer) && is_array($answer['Error'] ?? null) ? $answer['Error'] : [];
        throw new ChatException(
            (string) ($error['Message'] ?? "the chat service answered $status"),
            $status,
            (string) ($error['Code'] ?? 'unexpected'),
            $error['Field'] ?? null,
            $error['RetryAfter'] ?? $retryAfter,
            $requestId,
        );
    }

    /** @param array<string, mixed> $body */
    private static function isForm(array $body): bool
    {
        foreach ($body as $value) {
            if ($value instanceof \CURLFile) {
                return true;
            }
        }
        return false;
    }
}
