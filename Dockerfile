# syntax=docker/dockerfile:1
# Compiled JavaScript, production dependencies only, not root, fit for a read-only root file system.
#   docker run --read-only -v ./config.yaml:/etc/smtp2exchange/config.yaml:ro -v smtp2exchange-data:/var/lib/smtp2exchange -p 2525:2525 smtp2exchange
# .ci/package runs the same steps in an empty folder.

FROM node:26.10.0-slim AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN npm run build

FROM node:26.10.0-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts && npm cache clean --force

FROM node:26.10.0-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app ./
COPY --from=build /build/dist ./dist
COPY LICENSE ./
RUN mkdir -p /etc/smtp2exchange /var/lib/smtp2exchange && chown node:node /var/lib/smtp2exchange
USER node
VOLUME /var/lib/smtp2exchange
EXPOSE 2525 8025
# The console's port as config.yaml has it by default; set HEALTH_URL when yours differs.
ENV HEALTH_URL=http://127.0.0.1:8025/livez
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
  CMD ["node", "-e", "fetch(process.env.HEALTH_URL).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "--enable-source-maps", "/app/dist/main.js"]
CMD ["run", "--config", "/etc/smtp2exchange/config.yaml"]
