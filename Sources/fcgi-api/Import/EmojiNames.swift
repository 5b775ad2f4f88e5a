/// Names of emoji in Slack and Mattermost. Others are left out: a workspace's own have no letter.
enum EmojiNames {
    static func emoji(_ name: String) -> String? {
        // A tone of skin is left out: `wave::skin-tone-3`.
        byName[ByteText(Substring(name.utf8.prefix { $0 != UInt8(ascii: ":") }))]
    }

    private static let byName = [ByteText: String](uniqueKeysWithValues: all.map { (ByteText($0), $1) })

    private static let all: [String: String] = [
        "+1": "👍", "thumbsup": "👍", "-1": "👎", "thumbsdown": "👎", "heart": "❤️", "hearts": "♥️",
        "tada": "🎉", "white_check_mark": "✅", "heavy_check_mark": "✔️", "x": "❌", "eyes": "👀", "fire": "🔥",
        "rocket": "🚀", "joy": "😂", "laughing": "😆", "satisfied": "😆", "smile": "😄", "smiley": "😃",
        "slightly_smiling_face": "🙂", "grinning": "😀", "grin": "😁", "wink": "😉", "sweat_smile": "😅",
        "rolling_on_the_floor_laughing": "🤣", "rofl": "🤣", "heart_eyes": "😍", "kissing_heart": "😘",
        "thinking_face": "🤔", "thinking": "🤔", "neutral_face": "😐", "cry": "😢", "sob": "😭", "scream": "😱",
        "angry": "😠", "rage": "😡", "sunglasses": "😎", "hugging_face": "🤗", "hugs": "🤗", "facepalm": "🤦",
        "face_palm": "🤦", "shrug": "🤷", "clap": "👏", "raised_hands": "🙌", "pray": "🙏", "muscle": "💪",
        "wave": "👋", "ok_hand": "👌", "point_up": "☝️", "point_right": "👉", "point_left": "👈", "v": "✌️",
        "handshake": "🤝", "100": "💯", "star": "⭐", "star2": "🌟", "sparkles": "✨", "zap": "⚡", "boom": "💥",
        "bulb": "💡", "warning": "⚠️", "question": "❓", "exclamation": "❗", "heavy_exclamation_mark": "❗",
        "heavy_plus_sign": "➕", "heavy_minus_sign": "➖", "arrow_up": "⬆️", "arrow_down": "⬇️", "coffee": "☕",
        "beer": "🍺", "beers": "🍻", "pizza": "🍕", "cake": "🍰", "birthday": "🎂", "gift": "🎁", "bug": "🐛",
        "cat": "🐱", "dog": "🐶", "unicorn_face": "🦄", "unicorn": "🦄", "see_no_evil": "🙈", "robot_face": "🤖",
        "robot": "🤖", "ghost": "👻", "skull": "💀", "poop": "💩", "hankey": "💩", "broken_heart": "💔",
        "blue_heart": "💙", "green_heart": "💚", "yellow_heart": "💛", "purple_heart": "💜", "orange_heart": "🧡",
        "memo": "📝", "pencil": "📝", "calendar": "📅", "email": "📧", "lock": "🔒", "unlock": "🔓", "key": "🔑",
        "hammer": "🔨", "wrench": "🔧", "construction": "🚧", "checkered_flag": "🏁", "sunny": "☀️", "snowflake": "❄️",
        "partying_face": "🥳", "saluting_face": "🫡", "melting_face": "🫠", "upside_down_face": "🙃", "pleading_face": "🥺",
        "raised_hand": "✋", "hand": "✋", "point_down": "👇", "point_up_2": "👆", "crossed_fingers": "🤞",
        "fingers_crossed": "🤞", "trophy": "🏆", "medal": "🏅", "ballot_box_with_check": "☑️", "no_entry": "⛔",
        "no_entry_sign": "🚫", "red_circle": "🔴", "large_blue_circle": "🔵", "hourglass": "⌛",
    ]
}
