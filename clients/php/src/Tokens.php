<?php

declare(strict_types=1);

namespace Chat;

/** Makes the tokens by which the service knows your users: JWT, HS256, signed with JWT_SECRET. */
final class Tokens
{
    /** @param string $secret JWT_SECRET of the service, at least 32 bytes */
    public function __construct(
        #[\SensitiveParameter] private readonly string $secret,
        private readonly ?string $audience = null,
        private readonly ?string $issuer = null,
    ) {
        if (strlen($secret) < 32) {
            throw new \InvalidArgumentException('JWT_SECRET has fewer than 32 bytes; make one with: openssl rand -base64 32');
        }
    }

    /**
     * A token for one user.
     *
     * @param string               $user   the user's id in your application
     * @param int                  $ttl    seconds for which it is good
     * @param array<string, mixed> $claims more claims, such as `name` and `picture`
     */
    public function issue(string $user, int $ttl = 3600, array $claims = []): string
    {
        if ($user === '' || strlen($user) > 128) {
            throw new \InvalidArgumentException('a user id has 1 to 128 bytes');
        }
        if ($ttl < 1) {
            throw new \InvalidArgumentException('a token is good for at least one second');
        }
        $now = time();
        $own = ['sub' => $user, 'iat' => $now, 'exp' => $now + $ttl, 'jti' => bin2hex(random_bytes(16))];
        if ($this->audience !== null) {
            $own['aud'] = $this->audience;
        }
        if ($this->issuer !== null) {
            $own['iss'] = $this->issuer;
        }
        $flags = JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE;
        // The claims of this class win: a caller cannot overwrite the user or the end by accident.
        $text = self::encode('{"alg":"HS256","typ":"JWT"}') . '.' . self::encode(json_encode($own + $claims, $flags));
        return $text . '.' . self::encode(hash_hmac('sha256', $text, $this->secret, true));
    }

    private static function encode(string $bytes): string
    {
        return rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');
    }
}
