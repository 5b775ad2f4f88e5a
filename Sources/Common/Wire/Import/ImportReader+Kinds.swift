extension ImportFields {
    mutating func record(_ kind: String) -> ImportRecord? {
        switch kind {
        case "message": message()
        case "edit": edit()
        case "reaction": reaction()
        case "member": member()
        case "room": room()
        case "user": user()
        case "account": account()
        case "block": block()
        default: head()
        }
    }

    private mutating func head() -> ImportRecord? {
        if fields.has("User") {
            problems.append(
                "this is the export of one user, which no import takes: --all and --room are for that")
        }
        guard value["Version"]?.int == 1 else {
            problems.append("Version is not 1: this program reads no other")
            return nil
        }
        return .head(optional { fields throws(Refusal) in try fields.uuid("UserNamespace") })
    }

    private mutating func user() -> ImportRecord? {
        var user = take { fields throws(Refusal) in try fields.requiredUser("ID") }
        let external = optional { fields throws(Refusal) in try fields.user("ExternalID") }
        if let external, external.id != user?.id {
            problems.append("ExternalID is another user's than ID: export and import have another USER_NAMESPACE")
        }
        if let text = external?.externalID { user?.externalID = text }
        let name = optional { fields throws(Refusal) in try fields.text("Name") } ?? ""
        if !name.isEmpty, !Profile.isName(name) {
            problems.append("Name is not one line of at most \(RequestLimit.userName) bytes that shows something")
        }
        let avatar = optional { fields throws(Refusal) in try fields.text("Avatar") } ?? ""
        if !avatar.isEmpty, !Profile.isAvatar(avatar) {
            problems.append("Avatar is not an http or https URL of at most \(RequestLimit.avatar) bytes")
        }
        let metadata =
            fields.isAbsent("Metadata")
            ? "{}"
            : take { fields throws(Refusal) in try fields.object("Metadata", limit: Metadata.limit) } ?? "{}"
        let (deactivated, created) = (time("DeactivatedAt"), time("CreatedAt"))
        guard let user else { return nil }
        return .user(
            ImportUser(
                user: user, name: name, avatar: avatar, metadata: metadata, deactivatedAt: deactivated,
                createdAt: created))
    }

    private mutating func account() -> ImportRecord? {
        let user = user("UserID")
        let hides = take { fields throws(Refusal) in try fields.flag("HidePresence") } ?? false
        let mentions = take { fields throws(Refusal) in try fields.flag("PushMentionsOnly") } ?? false
        let by = optional { fields throws(Refusal) in
            try fields.name("AddedBy", AddedBy.init(name:), "is not everybody, shared or nobody")
        }
        let quiet = quietHours()
        guard let user else { return nil }
        return .account(
            user,
            Account(
                hidesPresence: hides, addedBy: by ?? .everybody, pushesMentionsOnly: mentions, quietHours: quiet))
    }

    private mutating func quietHours() -> QuietHours? {
        guard let value = value["QuietHours"], !value.isNull else { return nil }
        guard let from = value["From"]?.string.flatMap(QuietHours.minute),
            let to = value["To"]?.string.flatMap(QuietHours.minute), from != to,
            let zone = value["TimeZone"]?.string, QuietHours.isZoneName(zone)
        else {
            problems.append("QuietHours has not From and To as HH:MM and a TimeZone such as Europe/Berlin")
            return nil
        }
        return QuietHours(from: from, to: to, zone: zone)
    }

    private mutating func block() -> ImportRecord? {
        let (blocker, blocked, at) = (user("UserID"), user("BlockedID"), requiredTime("CreatedAt"))
        guard let blocker, let blocked, let at else { return nil }
        guard blocker != blocked else {
            problems.append("BlockedID is the user itself")
            return nil
        }
        return .block(blocker: blocker, blocked: blocked, at: at)
    }

    // MARK: Rooms

    private mutating func room() -> ImportRecord? {
        let given = room("ID")
        let type = optional { fields throws(Refusal) in
            try fields.name("Type", RoomType.init(name:), "is not PRIVATE, GROUP or CHANNEL")
        }
        if fields.isAbsent("Type") { problems.append("Type is missing") }
        let (name, description, avatar) = roomTexts()
        if let type, type != .privateRoom, name.isEmpty { problems.append("Name is missing: a \(type.name) has one") }
        let owner = user("OwnerID")
        let limit = optional { fields throws(Refusal) in
            try fields.integer("MemberLimit", in: 2...Int64(RequestLimit.roomMembers))
        }
        let sign = optional { fields throws(Refusal) in try fields.sign() }
        let (created, deleted, active) = (requiredTime("CreatedAt"), time("DeletedAt"), time("LastActivityAt"))
        let (by, last, metadata) = (optionalUser("CreatedBy"), seq("LastSeq", from: 0), metadata())
        let slow = slowMode(of: type)
        // The pair could never meet again.
        if type == .privateRoom, deleted != nil { problems.append("DeletedAt is not for PRIVATE rooms") }
        guard let given, let type, let owner, let created, let (id, pair) = pair(of: type, given) else { return nil }
        return .room(
            ImportRoom(
                given: given,
                room: Room(
                    id: id, type: type, name: name, description: description, avatar: avatar, ownerID: owner,
                    memberLimit: limit.map { Int($0) }, lastSeq: last ?? 0, lastActivityAt: active ?? created,
                    createdAt: created, createdBy: by, createdSign: sign, deletedAt: deleted, metadata: metadata,
                    slowModeSeconds: slow),
                pair: pair, lastActivityAt: active, isKnownElsewhere: last != nil))
    }

    private mutating func slowMode(of type: RoomType?) -> Int {
        let seconds = optional { fields throws(Refusal) in
            try fields.integer("SlowModeSeconds", in: 0...Int64(RequestLimit.slowMode))
        }
        if type == .privateRoom, seconds ?? 0 > 0 { problems.append("SlowModeSeconds is not for PRIVATE rooms") }
        return Int(seconds ?? 0)
    }

    private mutating func roomTexts() -> (name: String, description: String, avatar: String) {
        let name = optional { fields throws(Refusal) in try fields.line("Name", limit: RequestLimit.roomName) }
        let avatar = optional { fields throws(Refusal) in try fields.line("Avatar", limit: RequestLimit.avatar) }
        let description = optional { fields throws(Refusal) in try fields.text("Description") }
        if let name, !name.isEmpty, !name.showsSomething {
            problems.append("Name shows nothing: it has no visible character")
        }
        if let description, description.utf8.count > RequestLimit.roomDescription {
            problems.append("Description has more than \(RequestLimit.roomDescription) bytes")
        }
        if let description, description.utf8.contains(0) { problems.append("Description has a NUL") }
        return (name ?? "", description ?? "", avatar ?? "")
    }

    private mutating func pair(of type: RoomType, _ given: UUID128) -> (UUID128, [UUID128])? {
        guard type == .privateRoom else {
            if !fields.isAbsent("Members") { problems.append("Members is for PRIVATE rooms: others have member lines") }
            return (given, [])
        }
        let users = take { fields throws(Refusal) in try fields.users("Members", limit: 2) } ?? []
        guard users.count == 2, let id = privateRoomID(users[0].id, users[1].id) else {
            problems.append("Members of a PRIVATE room are two different users")
            return nil
        }
        return (id, users.map(\.id))
    }

    private mutating func member() -> ImportRecord? {
        let (room, user, joined) = (room("RoomID"), user("UserID"), requiredTime("JoinedAt"))
        let role = optional { fields throws(Refusal) in
            try fields.name("Role", Role.init(name:), "is not MEMBER, ADMIN or OWNER")
        }
        let (left, banned, muted) = (time("LeftAt"), time("BannedAt"), anyTime("MutedUntil"))
        let (joinedSeq, seenSeq, seenAt) = (seq("JoinedSeq", from: 0), seq("LastSeenSeq", from: 0), time("LastSeenAt"))
        let metadata = metadata()
        if seenSeq != nil, seenAt != nil { problems.append("LastSeenSeq and LastSeenAt exclude each other") }
        guard let room, let user, let joined else { return nil }
        return .member(
            ImportMember(
                member: Member(
                    roomID: room, userID: user, role: role ?? .member, mutedUntil: muted, bannedAt: banned,
                    joinedAt: joined, joinedSeq: joinedSeq ?? 0, leftAt: left, metadata: metadata),
                isNumbered: joinedSeq ?? seenSeq != nil, lastSeenSeq: seenSeq, lastSeenAt: seenAt))
    }

    // MARK: Messages

    private mutating func message() -> ImportRecord? {
        let (id, room, sender) = (message("ID"), room("RoomID"), user("SenderID"))
        let types = types()
        let (parent, forwarded) = (optionalMessage("ParentMessageID"), optionalMessage("ForwardedFrom"))
        let sign = optional { fields throws(Refusal) in try fields.sign() }
        let (created, edited, deleted) = (requiredTime("CreatedAt"), time("EditedAt"), time("DeletedAt"))
        let (pinned, seq, change, metadata) = (time("PinnedAt"), seq("Seq"), seq("ChangeSeq"), metadata())
        if forwarded != nil, types.message != .forwarded { problems.append("ForwardedFrom is for forwarded messages") }
        if let change, change < seq ?? .max { problems.append("ChangeSeq is less than Seq, or there is no Seq") }
        let content = content(types.content, isFree: deleted != nil || types.message == .system)
        let (file, url) = file(types.content, isFree: deleted != nil)
        let reactions = reactions()
        if deleted != nil, !content.isEmpty || file != nil || !reactions.isEmpty || metadata != nil {
            problems.append("DeletedAt says that nothing of the message is left, but it has content")
        }
        guard let id, let room, let sender, let created else { return nil }
        var message = Message(
            id: id, roomID: room, senderID: sender, seq: seq ?? 0, changeSeq: change ?? seq ?? 0, content: content,
            contentType: types.content, messageType: types.message, parentMessageID: parent, forwardedFrom: forwarded,
            sign: sign, status: deleted == nil ? .sent : .deleted, file: file, reactions: reactions, editedAt: edited,
            deletedAt: deleted, pinnedAt: pinned, createdAt: created, metadata: metadata)
        if file?.thumbnailURL != nil { message.file?.thumbnailURL = FileInfo.thumbnailPath(of: id) }
        return .message(ImportMessage(message: message, fileURL: url))
    }

    private mutating func types() -> (content: ContentType, message: MessageType) {
        let content = optional { fields throws(Refusal) in
            try fields.name("ContentType", ContentType.init(name:), "is not text, image, video, audio or file")
        }
        let message = optional { fields throws(Refusal) in
            try fields.name("MessageType", MessageType.init(name:), "is not direct, replied, forwarded or system")
        }
        return (content ?? .text, message ?? .direct)
    }

    /// - Parameter isFree: a deleted message has none, and one of the room's own may show nothing.
    private mutating func content(_ type: ContentType, isFree: Bool) -> String {
        if isFree, fields.isAbsent("Content") { return "" }
        return take { fields throws(Refusal) in try fields.content(of: type) } ?? ""
    }

    private mutating func file(_ type: ContentType, isFree: Bool) -> (FileInfo?, url: String?) {
        guard let value = value["File"], !value.isNull else {
            if type != .text, !isFree { problems.append("File is missing") }
            return (nil, nil)
        }
        guard case .map = value, type != .text else {
            problems.append("File is not an object, or ContentType is text")
            return (nil, nil)
        }
        var inner = ImportFields(value, now: now)
        defer { problems += inner.problems.map { "File: \($0)" } }
        let name = inner.fileName()
        let size = inner.optional { fields throws(Refusal) in try fields.integer("Size", in: 0...ImportLimit.fileSize) }
        let media = inner.optional { fields throws(Refusal) in try fields.line("ContentType", limit: 255) }
        if let media, !media.isEmpty, MediaType(media) == nil {
            inner.problems.append("ContentType is not a media type")
        }
        let url = inner.optional { fields throws(Refusal) in try fields.line("URL", limit: WebAddress.longest) }
        if let url, !WebAddress.isLink(url) {
            inner.problems.append("URL is not an http or https address of a host")
        }
        let hasThumbnail = inner.take { fields throws(Refusal) in try fields.flag("Thumbnail") } ?? false
        if hasThumbnail, url != nil {
            inner.problems.append("Thumbnail is of files in the store, and not of one with a URL")
        }
        let facts = inner.media()
        return (
            FileInfo(
                name: name ?? "", size: size ?? 0, contentType: media?.nonEmpty ?? MediaType.unknown.description,
                thumbnailURL: hasThumbnail ? "/" : nil, media: facts), url
        )
    }

    /// As the API takes names.
    private mutating func fileName() -> String? {
        let given = optional { fields throws(Refusal) in try fields.line("Name", limit: RequestLimit.fileName) } ?? ""
        let name = String(String.UnicodeScalarView(given.unicodeScalars.filter { !$0.turnsText }))
        if name == "." || name == ".." || name.utf8.contains(where: { $0 == 0x2f || $0 == 0x5c }) {
            problems.append("Name is not a plain file name")
        }
        return name
    }

    private mutating func media() -> FileMedia? {
        func number(_ fields: RequestFields, _ key: String) throws(Refusal) -> Int? {
            try fields.integer(key, in: 0...Int64(Int32.max)).map { Int($0) }
        }
        let width = optional { fields throws(Refusal) in try number(fields, "Width") }
        let height = optional { fields throws(Refusal) in try number(fields, "Height") }
        let turned = optional { fields throws(Refusal) in try number(fields, "Orientation") }
        let duration = optional { fields throws(Refusal) in try number(fields, "Duration") }
        let hash = optional { fields throws(Refusal) in try fields.line("BlurHash", limit: 128) }
        guard width ?? height ?? turned ?? duration != nil || hash != nil else { return nil }
        return FileMedia(width: width, height: height, orientation: turned, blurHash: hash, duration: duration)
    }

    private mutating func reactions() -> [Reaction] {
        guard let value = value["Reactions"], !value.isNull else { return [] }
        guard let list = value.array else {
            problems.append("Reactions is not a list")
            return []
        }
        guard list.count <= RequestLimit.reactions else {
            problems.append("Reactions has more than \(RequestLimit.reactions) entries")
            return []
        }
        var found: [Reaction] = []
        for entry in list {
            let fields = RequestFields(entry)
            guard
                let emoji = take({ _ throws(Refusal) in try fields.reaction() }),
                let users = take({ _ throws(Refusal) in try fields.users("Users", limit: RequestLimit.roomMembers) }),
                !users.isEmpty
            else {
                problems.append("Reactions has an entry without a Reaction or Users")
                return []
            }
            guard !found.contains(where: { areSameBytes($0.emoji, emoji) }) else {
                problems.append("Reactions has an emoji twice")
                return []
            }
            found.append(Reaction(emoji: emoji, users: users.map(\.id)))
        }
        return found
    }

    private mutating func edit() -> ImportRecord? {
        let (message, at, change) = (message("MessageID"), requiredTime("ReplacedAt"), seq("ChangeSeq"))
        let content = content(.text, isFree: false)
        guard let message, let at else { return nil }
        return .edit(ImportEdit(message: message, content: content, replacedAt: at, changeSeq: change))
    }

    private mutating func reaction() -> ImportRecord? {
        let (message, user) = (message("MessageID"), user("UserID"))
        let emoji = take { fields throws(Refusal) in try fields.reaction() }
        guard let message, let user, let emoji else { return nil }
        return .reaction(message: message, emoji: emoji, user: user)
    }
}

extension String {
    fileprivate var nonEmpty: String? { isEmpty ? nil : self }
}
