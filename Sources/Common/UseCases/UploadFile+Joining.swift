/// The end of an upload: its parts become one object, and the room is told.
extension UploadFile {
    func complete<Answer>(
        _ message: Message, _ state: UploadState, _ finish: Finish<Answer>
    ) throws(Refusal) -> Result<Answer> {
        try stores.locked(message.id) { fence throws(Refusal) -> Result<Answer> in
            guard let record = try record(of: message), record.upload == state.upload else { throw Refusal.uploadEnded }
            guard !record.isCompleted else { return .alreadyCompleted }
            let (size, type): (Int64, MediaType)
            do throws(Refusal) {
                size = try join(message, state)
                try reserve(size, for: message)
                type = try inspection.inspect(
                    message, claimed: record.mediaType.flatMap { MediaType($0) }, size: size, stores)
            } catch {
                // A file that can never be complete leaves nothing behind. After a temporary failure it may still
                // complete later.
                if error.retryAfter == nil, error.code != .internalError { try discard(message, state, fence) }
                throw error
            }
            return .completed(try finish(FileInfo(name: message.content, size: size, contentType: type.description)))
        }
    }

    /// - Returns: the object's size in bytes.
    private func join(_ message: Message, _ state: UploadState) throws(Refusal) -> Int64 {
        if let size = state.joined { return size }
        // Parallel chunks were checked without knowing each other's size.
        try rules.check(size: state.size)
        let key = UploadFile.key(message)
        if state.size == 0 { return try joinNothing(key, state) }
        let size = try stores.objects { store throws(StoreError) -> Int64? in
            do throws(StoreError) {
                try store.completeUpload(of: key, upload: state.upload, parts: Array(state.parts.values))
                return state.size
            } catch {
                if error.isMissing { return try store.size(of: key) }
                guard !error.isTransient else { throw error }
            }
            // A part was replaced a moment ago: only the store knows the valid ones.
            let parts = try store.parts(of: key, upload: state.upload)
            guard parts.count == state.total else { return nil }
            try store.completeUpload(of: key, upload: state.upload, parts: parts)
            return parts.reduce(0) { $0 + $1.size }
        }
        guard let size else { throw Refusal.uploadEnded }
        return size
    }

    private func joinNothing(_ key: String, _ state: UploadState) throws(Refusal) -> Int64 {
        try stores.objects { store throws(StoreError) in
            try store.put(
                key, contentType: MediaType.unknown.description, from: FilePart(descriptor: -1, offset: 0, length: 0))
            try store.abortUpload(of: key, upload: state.upload)
        }
        return 0
    }

    private func discard(_ message: Message, _ state: UploadState, _ fence: Int64) throws(Refusal) {
        try stores.objects { store throws(StoreError) in
            try store.abortUpload(of: UploadFile.key(message), upload: state.upload)
            try store.delete(UploadFile.key(message))
        }
        try forget(message, upload: state.upload, fence: fence)
    }
}
