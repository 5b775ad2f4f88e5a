public import ChatCore
public import Logging

extension Settings {
    /// The exporter of a worker; nil, without a thread, if nothing is traced.
    public func spanExporter(
        _ program: String, worker: String, _ log: Logger, report: @escaping (SpanExporter.Counts) -> Void
    ) -> SpanExporter? {
        guard tracing.isOn else { return nil }
        return SpanExporter(tracing, scope: program, worker: worker, log: log, report: report)
    }
}
